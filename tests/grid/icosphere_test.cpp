// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/grid/icosphere.h"

#include "gradwind/core/error.h"
#include "gradwind/grid/healpix.h"
#include "gradwind/grid/neighbours.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <gtest/gtest.h>
#include <numbers>
#include <set>

namespace gradwind::grid
{

TEST(Icosphere, SizesFollowFromTheLevel)
{
    const Icosphere sphere(4);
    EXPECT_EQ(sphere.vertices().size(), 2562u);
    for (int64_t level = 0; level <= 4; ++level) {
        EXPECT_EQ(sphere.faces(level).size(), static_cast<size_t>(20 * std::pow(4, level)));
        EXPECT_EQ(Icosphere::vertex_count(level), static_cast<int64_t>(10 * std::pow(4, level) + 2));
    }
}

TEST(Icosphere, EverySideHasTwoFacesOfOppositeWinding)
{
    const Icosphere sphere(3);
    for (int64_t level = 0; level <= 3; ++level) {
        std::set<std::pair<int32_t, int32_t>> directed;
        for (const Icosphere::Face& face : sphere.faces(level)) {
            for (size_t i = 0; i < 3; ++i)
                EXPECT_TRUE(directed.emplace(face[i], face[(i + 1) % 3]).second);
        }
        for (const auto& [a, b] : directed) {
            EXPECT_TRUE(directed.contains({b, a}));
            EXPECT_LT(std::max(a, b), Icosphere::vertex_count(level));
        }
    }
}

TEST(Icosphere, VerticesLieOnTheSphere)
{
    const Icosphere sphere(4);
    for (const auto& [x, y, z] : sphere.vertices())
        EXPECT_NEAR(x * x + y * y + z * z, 1, 1e-14);
}

TEST(Icosphere, ReferenceDistancesAreThoseOfTheOriginal)
{
    const std::array<double, 5> expected{0.5465331, 0.2854731, 0.1584596, 0.0817760, 0.0412319}; // spec §16.1
    for (size_t i = 0; i < expected.size(); ++i) {
        const OrderedVertices vertices = order_vertices(Icosphere(static_cast<int64_t>(i) + 1));
        EXPECT_NEAR(reference_distance(NeighbourTree(unit_vectors(vertices.lat_rad, vertices.lon_rad))), expected[i],
                    2e-7);
    }
}

TEST(OrderedVertices, RunFromNorthToSouthAndFromEastToWest)
{
    const OrderedVertices vertices = order_vertices(Icosphere(5));
    int64_t ties = 0;
    for (size_t i = 1; i < vertices.order.size(); ++i) {
        const auto before = static_cast<size_t>(vertices.order[i - 1]);
        const auto here = static_cast<size_t>(vertices.order[i]);
        ASSERT_GE(vertices.lat_rad[before], vertices.lat_rad[here]);
        if (vertices.lat_rad[before] == vertices.lat_rad[here]) {
            ++ties;
            ASSERT_GE(vertices.lon_rad[before], vertices.lon_rad[here]);
        }
    }
    EXPECT_NEAR(static_cast<double>(ties), 7653, 300); // rounding decides a few
    const auto first = static_cast<size_t>(vertices.order.front());
    EXPECT_FLOAT_EQ(vertices.lat_rad[first], static_cast<float>(std::numbers::pi / 2));
    EXPECT_NEAR(vertices.lat_rad[static_cast<size_t>(vertices.order[1])], 1.5361979, 1e-6);
}

TEST(Icosphere, RefusesWhatIsTooCoarseOrTooFine)
{
    EXPECT_THROW(Icosphere(-1), ConfigError);
    EXPECT_THROW(Icosphere(11), ConfigError);
    EXPECT_THROW((void)Icosphere(1).faces(2), ConfigError);
}

TEST(Healpix, PixelsAreWhereTheyShouldBe)
{
    const Coordinates base = healpix_grid(0);
    ASSERT_EQ(base.size(), 12u);
    EXPECT_NEAR(base.lat_deg[0], std::asin(2.0 / 3) * 180 / std::numbers::pi, 1e-12);
    EXPECT_NEAR(base.lon_deg[0], 45, 1e-12);
    EXPECT_NEAR(base.lat_deg[4], 0, 1e-12);
    EXPECT_NEAR(base.lon_deg[5], 90, 1e-12);
    EXPECT_NEAR(base.lat_deg[11], -base.lat_deg[0], 1e-12);
}

TEST(Healpix, TwentyFourPixelsHaveSevenNeighbours)
{
    for (const int64_t resolution : {1, 2, 3}) {
        int64_t seven = 0;
        const auto neighbours = healpix_neighbours(resolution);
        for (size_t pixel = 0; pixel < neighbours.size(); ++pixel) {
            EXPECT_TRUE(neighbours[pixel].size() == 8 || neighbours[pixel].size() == 7);
            seven += neighbours[pixel].size() == 7 ? 1 : 0;
            for (const int32_t other : neighbours[pixel]) {
                const auto& back = neighbours[static_cast<size_t>(other)];
                EXPECT_NE(std::find(back.begin(), back.end(), static_cast<int32_t>(pixel)), back.end());
            }
        }
        EXPECT_EQ(seven, 24) << "resolution " << resolution;
    }
}

} // namespace gradwind::grid
