// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/grid/gaussian.h"

#include <cmath>
#include <gtest/gtest.h>
#include <numbers>
#include <numeric>

#include "gradwind/core/error.h"

namespace gradwind::grid
{

TEST(GaussianLatitudes, OfTwoRowsPerHemisphereAreTheClosedForm)
{
    // Roots of P_4: x^2 = (15 -+ 2 sqrt(30)) / 35.
    const double outer = std::asin(std::sqrt((15 + 2 * std::sqrt(30.0)) / 35)) * 180 / std::numbers::pi;
    const double inner = std::asin(std::sqrt((15 - 2 * std::sqrt(30.0)) / 35)) * 180 / std::numbers::pi;
    const std::vector<double> latitudes = gaussian_latitudes(2);
    ASSERT_EQ(latitudes.size(), 4u);
    EXPECT_NEAR(latitudes[0], outer, 1e-12);
    EXPECT_NEAR(latitudes[1], inner, 1e-12);
    EXPECT_EQ(latitudes[2], -latitudes[1]);
    EXPECT_EQ(latitudes[3], -latitudes[0]);
}

TEST(GaussianLatitudes, SumOfSquaredSinesIsThatOfTheLegendreRoots)
{
    // n (n - 1) / (2n - 1) for degree n, from the two leading coefficients of P_n.
    for (const int64_t n : {1, 8, 32, 320}) {
        const std::vector<double> latitudes = gaussian_latitudes(n);
        double sum = 0;
        for (size_t i = 0; i < latitudes.size(); ++i) {
            sum += std::pow(std::sin(latitudes[i] * std::numbers::pi / 180), 2);
            if (i > 0) {
                EXPECT_LT(latitudes[i], latitudes[i - 1]);
            }
        }
        const double degree = 2.0 * static_cast<double>(n);
        EXPECT_NEAR(sum, degree * (degree - 1) / (2 * degree - 1), 1e-11 * degree) << "N = " << n;
    }
}

TEST(GaussianLatitudes, FirstRowOfN320IsTheKnownOne)
{
    EXPECT_NEAR(gaussian_latitudes(320).front(), 89.784876907219, 1e-11);
}

TEST(OctahedralGrid, HasFourNTimesNPlusNinePoints)
{
    for (const int64_t n : {1, 4, 32, 48, 96})
        EXPECT_EQ(octahedral_grid(n).size(), static_cast<size_t>(4 * n * (n + 9)));
    const Coordinates grid = octahedral_grid(32);
    EXPECT_EQ(grid.lon_deg[0], 0);
    EXPECT_EQ(grid.lon_deg[1], 18);
    EXPECT_EQ(grid.lon_deg[20], 0); // the second row starts
    EXPECT_EQ(grid.lon_deg[21], 15);
    EXPECT_EQ(grid.lat_deg.back(), -grid.lat_deg.front());
}

TEST(NamedGrid, ClassicalGridsComeFromEccodes)
{
    Coordinates grid;
    try {
        grid = named_gaussian_grid("N320");
    } catch (const ConfigError& error) {
        GTEST_SKIP() << error.what();
    }
    EXPECT_EQ(grid.size(), 542080u);
    EXPECT_EQ(grid.lon_deg[1], 20); // 18 points in the first row
}

TEST(NamedGrid, RefusesOtherNames)
{
    for (const char* name : {"", "o", "f32", "o-3", "o3x", "n", "o0", "o999999"})
        EXPECT_THROW((void)named_gaussian_grid(name), ConfigError) << name;
}

TEST(NamedGrid, UnknownClassicalNumberNamesWhatExists)
{
    try {
        (void)named_gaussian_grid("n33");
        FAIL() << "no error";
    } catch (const ConfigError& error) {
        EXPECT_NE(std::string(error.what()).find("o33"), std::string::npos) << error.what();
    }
}

} // namespace gradwind::grid
