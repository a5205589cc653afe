// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/grid/neighbours.h"

#include "gradwind/core/error.h"
#include "gradwind/grid/gaussian.h"
#include "gradwind/grid/voronoi.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <numbers>
#include <numeric>

namespace gradwind::grid
{

namespace
{

struct Points {
    std::vector<float> lat;
    std::vector<float> lon;
    [[nodiscard]] UnitVectors vectors() const { return unit_vectors(lat, lon); }
};

Points octahedral(int64_t n)
{
    const Coordinates grid = octahedral_grid(n);
    Points points;
    for (size_t i = 0; i < grid.size(); ++i) {
        points.lat.push_back(static_cast<float>(grid.lat_deg[i] * std::numbers::pi / 180));
        points.lon.push_back(static_cast<float>(grid.lon_deg[i] * std::numbers::pi / 180));
    }
    return points;
}

/// (distance, index) of all points, nearest first.
std::vector<std::pair<double, int32_t>> by_distance(const UnitVectors& points, const float* query)
{
    std::vector<std::pair<double, int32_t>> all;
    for (size_t i = 0; i < points.size(); ++i)
        all.emplace_back(chord(points[i], query), static_cast<int32_t>(i));
    std::sort(all.begin(), all.end());
    return all;
}

} // namespace

TEST(NeighbourTree, FindsWhatASearchThroughAllPointsFindsTiesIncluded)
{
    const UnitVectors points = octahedral(8).vectors(); // symmetric: many equal distances
    const UnitVectors queries = octahedral(4).vectors();
    const NeighbourTree tree(points);
    const NeighbourLists nearest = tree.nearest(queries, 5);
    const NeighbourLists within = tree.within(queries, 0.3, 1000);
    const NeighbourLists capped = tree.within(queries, 0.3, 3);
    for (size_t q = 0; q < queries.size(); ++q) {
        const auto expected = by_distance(points, queries[q]);
        for (size_t k = 0; k < 5; ++k) {
            ASSERT_EQ(nearest.ids[5 * q + k], expected[k].second) << "query " << q << ", neighbour " << k;
            ASSERT_DOUBLE_EQ(nearest.chords[5 * q + k], expected[k].first);
        }
        std::vector<int32_t> inside;
        for (const auto& [distance, id] : expected) {
            if (distance <= 0.3)
                inside.push_back(id);
        }
        std::vector<int32_t> few(inside.begin(), inside.begin() + std::min<std::ptrdiff_t>(3, std::ssize(inside)));
        std::sort(inside.begin(), inside.end());
        std::sort(few.begin(), few.end());
        ASSERT_EQ(
            std::vector<int32_t>(within.ids.begin() + within.offsets[q], within.ids.begin() + within.offsets[q + 1]),
            inside);
        ASSERT_EQ(
            std::vector<int32_t>(capped.ids.begin() + capped.offsets[q], capped.ids.begin() + capped.offsets[q + 1]),
            few);
    }
}

TEST(NeighbourTree, RefusesWhatCannotBe)
{
    const NeighbourTree tree(octahedral(2).vectors());
    const UnitVectors query = octahedral(1).vectors();
    EXPECT_THROW((void)tree.nearest(query, 0), ConfigError);
    EXPECT_THROW((void)tree.nearest(query, static_cast<int64_t>(tree.points().size()) + 1), ConfigError);
    EXPECT_THROW((void)tree.within(query, 0, 5), ConfigError);
    EXPECT_THROW((void)tree.within(query, std::nan(""), 5), ConfigError);
    EXPECT_THROW((void)tree.within(query, 1, 0), ConfigError);
    EXPECT_THROW(NeighbourTree(UnitVectors{}), DataError);
    EXPECT_THROW(NeighbourTree(UnitVectors{{1, 0, std::numeric_limits<float>::quiet_NaN()}}), DataError);
}

TEST(ReferenceDistance, DoesNotCountPointsThatCoincide)
{
    const UnitVectors points{{1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1}};
    // The two first points have no other point at a distance among their two nearest.
    EXPECT_NEAR(reference_distance(NeighbourTree(points)), std::sqrt(2.0), 1e-12);
    EXPECT_THROW((void)reference_distance(NeighbourTree(UnitVectors{{1, 0, 0, 1, 0, 0}})), DataError);
}

TEST(SphericalCells, CoverTheSphere)
{
    for (const int64_t n : {2, 4, 8, 16}) {
        const Points points = octahedral(n);
        const std::vector<double> areas = spherical_cell_areas(points.lat, points.lon);
        EXPECT_NEAR(std::accumulate(areas.begin(), areas.end(), 0.0), 4 * std::numbers::pi, 1e-9) << "o" << n;
        // The grid repeats after a quarter of a turn, and from north to south; positions are rounded.
        for (size_t i = 0; i < 15; ++i)
            EXPECT_NEAR(areas[i] / areas[i + 5], 1, 1e-4);
        EXPECT_NEAR(areas[areas.size() - 20] / areas.front(), 1, 1e-4);
    }
}

TEST(SphericalCells, OfAnOctahedronAreEqual)
{
    const float right = static_cast<float>(std::numbers::pi / 2);
    const std::vector<float> lat{right, -right, 0, 0, 0, 0};
    const std::vector<float> lon{0, 0, 0, right, 2 * right, 3 * right};
    for (const double area : spherical_cell_areas(lat, lon))
        EXPECT_NEAR(area, 4 * std::numbers::pi / 6, 1e-6);
}

TEST(SphericalCells, OfPointsThatCoincideOneIsLeft)
{
    const float right = static_cast<float>(std::numbers::pi / 2);
    const std::vector<float> lat{right, -right, 0, 0, 0, 0, 0};
    const std::vector<float> lon{0, 0, 0, right, 2 * right, 3 * right, 0};
    const std::vector<double> areas = spherical_cell_areas(lat, lon);
    EXPECT_NEAR(std::accumulate(areas.begin(), areas.end(), 0.0), 4 * std::numbers::pi, 1e-6);
    EXPECT_EQ(std::min(areas[2], areas[6]), 0);
}

TEST(SphericalCells, RefusePointsThatSpanNoSphere)
{
    EXPECT_THROW((void)spherical_cell_areas(std::vector<float>{0, 1, 2}, std::vector<float>{0, 1, 2}), DataError);
    EXPECT_THROW((void)spherical_cell_areas(std::vector<float>(5, 0), std::vector<float>{0, 1, 2, 3, 4}), DataError);
}

TEST(PlanarCells, OfARegularGridAreEqualAcrossTheDateLine)
{
    std::vector<float> lat;
    std::vector<float> lon;
    for (int row = 0; row < 6; ++row) {
        for (int column = 0; column < 7; ++column) {
            lat.push_back(0.1f * static_cast<float>(row));
            const float east = 3.0f + 0.1f * static_cast<float>(column);
            lon.push_back(east > 3.1415927f ? east - 6.2831853f : east);
        }
    }
    for (const double area : planar_cell_areas(lat, lon))
        EXPECT_NEAR(area, 0.01, 1e-7);
}

TEST(PlanarCells, AreOnesWherePointsLieOnALine)
{
    const std::vector<double> areas = planar_cell_areas(std::vector<float>{0, 0, 0, 0}, std::vector<float>{0, 1, 2, 3});
    EXPECT_EQ(areas, std::vector<double>(4, 1.0));
}

} // namespace gradwind::grid
