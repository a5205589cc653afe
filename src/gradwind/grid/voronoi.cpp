// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/grid/voronoi.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "gradwind/core/error.h"
#include "gradwind/grid/hull.h"
#include "gradwind/grid/neighbours.h"

namespace gradwind::grid
{

namespace
{

using Vector = std::array<double, 3>;

double dot(const Vector& a, const Vector& b)
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

/// Area of a spherical triangle of unit vectors: tan(area / 2) = |a b c| / (1 + ab + bc + ca).
double triangle_area(const Vector& a, const Vector& b, const Vector& c)
{
    const double determinant =
        a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0]);
    return std::abs(2 * std::atan2(determinant, 1 + dot(a, b) + dot(b, c) + dot(c, a)));
}

constexpr double kTrustedReach = 1.2; // of a cell's corners, in median distances to the neighbours

/// Latitude and longitude with the seam on the far side of the points.
std::vector<double> recentred(std::span<const float> lat_rad, std::span<const float> lon_rad)
{
    constexpr double pi = std::numbers::pi;
    double sine = 0;
    double cosine = 0;
    for (const float lon : lon_rad) {
        sine += std::sin(static_cast<double>(lon));
        cosine += std::cos(static_cast<double>(lon));
    }
    const auto n = static_cast<double>(lon_rad.size());
    const double centre = std::atan2(sine / n, cosine / n);
    std::vector<double> plane;
    plane.reserve(2 * lat_rad.size());
    for (size_t i = 0; i < lat_rad.size(); ++i) {
        const double turned = std::fmod(std::fmod(lon_rad[i] - centre + pi, 2 * pi) + 2 * pi, 2 * pi);
        plane.push_back(lat_rad[i]);
        plane.push_back(turned - pi);
    }
    return plane;
}

struct PlanarCell {
    double area = 0;
    double reach = 0; ///< distance of the furthest corner
    bool bounded = true;
    std::vector<double> neighbour_distances;
    [[nodiscard]] bool trusted()
    {
        if (!bounded || neighbour_distances.empty())
            return false;
        std::sort(neighbour_distances.begin(), neighbour_distances.end());
        const size_t n = neighbour_distances.size();
        const double median = (neighbour_distances[(n - 1) / 2] + neighbour_distances[n / 2]) / 2;
        return reach <= kTrustedReach * median;
    }
};

std::vector<PlanarCell> planar_cells(std::vector<double>& plane)
{
    const detail::Facets facets = detail::delaunay(plane);
    std::vector<PlanarCell> cells(plane.size() / 2);
    for (const detail::Side& side : facets.sides) {
        const auto a = static_cast<size_t>(side.points[0]);
        const auto b = static_cast<size_t>(side.points[1]);
        const double distance = std::hypot(plane[2 * a] - plane[2 * b], plane[2 * a + 1] - plane[2 * b + 1]);
        for (const size_t point : {a, b}) {
            PlanarCell& cell = cells[point];
            cell.neighbour_distances.push_back(distance);
            if (side.facets[0] < 0 || side.facets[1] < 0) {
                cell.bounded = false;
                continue;
            }
            const Vector& c = facets.centres[static_cast<size_t>(side.facets[0])];
            const Vector& d = facets.centres[static_cast<size_t>(side.facets[1])];
            const double cx = c[0] - plane[2 * point];
            const double cy = c[1] - plane[2 * point + 1];
            const double dx = d[0] - plane[2 * point];
            const double dy = d[1] - plane[2 * point + 1];
            cell.area += std::abs(cx * dy - cy * dx) / 2; // the cell is convex and holds its point
            cell.reach = std::max({cell.reach, std::hypot(cx, cy), std::hypot(dx, dy)});
        }
    }
    return cells;
}

UnitVectors as_points(const std::vector<double>& plane, std::span<const int> indices)
{
    UnitVectors points;
    for (const int i : indices) {
        points.xyz.push_back(static_cast<float>(plane[2 * static_cast<size_t>(i)]));
        points.xyz.push_back(static_cast<float>(plane[2 * static_cast<size_t>(i) + 1]));
        points.xyz.push_back(0);
    }
    return points;
}

} // namespace

std::vector<double> spherical_cell_areas(std::span<const float> lat_rad, std::span<const float> lon_rad)
{
    std::vector<double> xyz;
    xyz.reserve(3 * lat_rad.size());
    for (size_t i = 0; i < lat_rad.size(); ++i) {
        const double lat = lat_rad[i];
        const double lon = lon_rad[i];
        xyz.insert(xyz.end(), {std::cos(lat) * std::cos(lon), std::cos(lat) * std::sin(lon), std::sin(lat)});
    }
    GRADWIND_CHECK(lat_rad.size() >= 4, DataError, "[grid] spherical Voronoi cells need at least 4 points, got {}",
                   lat_rad.size());
    const detail::Facets hull = detail::convex_hull(xyz);
    std::vector<double> areas(lat_rad.size(), 0);
    for (const detail::Side& side : hull.sides) {
        const auto i = static_cast<size_t>(side.points[0]);
        // The side of the cells between two points is mirrored in the plane between them: one area serves both.
        const double area = triangle_area({xyz[3 * i], xyz[3 * i + 1], xyz[3 * i + 2]},
                                          hull.centres[static_cast<size_t>(side.facets[0])],
                                          hull.centres[static_cast<size_t>(side.facets[1])]);
        areas[i] += area;
        areas[static_cast<size_t>(side.points[1])] += area;
    }
    return areas;
}

std::vector<double> planar_cell_areas(std::span<const float> lat_rad, std::span<const float> lon_rad)
{
    const size_t n = lat_rad.size();
    std::vector<double> plane = recentred(lat_rad, lon_rad);
    std::vector<PlanarCell> cells;
    try {
        cells = planar_cells(plane);
    } catch (const DataError&) {
        return std::vector<double>(n, 1.0); // fewer than three points, or all on a line
    }
    std::vector<int> trusted;
    std::vector<int> others;
    for (size_t i = 0; i < n; ++i)
        (cells[i].trusted() ? trusted : others).push_back(static_cast<int>(i));
    if (trusted.empty())
        return std::vector<double>(n, 1.0);
    std::vector<double> areas(n);
    for (const int i : trusted)
        areas[static_cast<size_t>(i)] = cells[static_cast<size_t>(i)].area;
    const NeighbourTree tree(as_points(plane, trusted));
    const NeighbourLists nearest = tree.nearest(as_points(plane, others), 1);
    for (size_t i = 0; i < others.size(); ++i)
        areas[static_cast<size_t>(others[i])] =
            areas[static_cast<size_t>(trusted[static_cast<size_t>(nearest.ids[i])])];
    return areas;
}

} // namespace gradwind::grid
