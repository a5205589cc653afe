// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/grid/healpix.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <tuple>

#include "gradwind/core/error.h"

namespace gradwind::grid
{

namespace
{

constexpr int64_t kFinest = 12;

// A point of the base pixel `face`, as steps along its two axes from its southern corner. On the plane of the
// projection the faces are squares standing on a corner: `row` counts from the north pole, `column` eastward from
// longitude 0.
struct PlanePoint {
    int64_t row;
    int64_t column;
};

PlanePoint plane_point(int64_t face, int64_t i, int64_t j, int64_t n_side)
{
    constexpr std::array<int64_t, 12> southern_row{2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4};
    constexpr std::array<int64_t, 12> centre_column{1, 3, 5, 7, 0, 2, 4, 6, 1, 3, 5, 7};
    const auto f = static_cast<size_t>(face);
    const int64_t offset = i - j;
    const int64_t row = southern_row[f] * n_side - i - j;
    // In a polar cap only `cap` of n_side columns are left of every face.
    const int64_t cap = std::min(row, 4 * n_side - row);
    const int64_t width = std::min(cap, n_side);
    const int64_t columns = 8 * width;
    if (columns == 0)
        return {row, 0};
    return {row, ((centre_column[f] * width + offset) % columns + columns) % columns};
}

// Takes every second bit, starting from the lowest.
int64_t even_bits(int64_t bits)
{
    int64_t packed = 0;
    for (int shift = 0; shift < 31; ++shift)
        packed |= ((bits >> (2 * shift)) & 1) << shift;
    return packed;
}

void check_resolution(int64_t resolution)
{
    GRADWIND_CHECK(resolution >= 0 && resolution <= kFinest, ConfigError,
                   "[grid] HEALPix resolution must be 0 to {}, got {}", kFinest, resolution);
}

} // namespace

Coordinates healpix_grid(int64_t resolution)
{
    check_resolution(resolution);
    const int64_t pixels_per_face = int64_t{1} << (2 * resolution);
    const int64_t half_steps = int64_t{2} << resolution; // per side: centres lie on odd ones
    Coordinates grid;
    for (int64_t pixel = 0; pixel < 12 * pixels_per_face; ++pixel) {
        const int64_t in_face = pixel % pixels_per_face;
        const PlanePoint centre = plane_point(pixel / pixels_per_face, 2 * even_bits(in_face) + 1,
                                              2 * even_bits(in_face >> 1) + 1, half_steps);
        const double n = static_cast<double>(half_steps);
        const auto cap = static_cast<double>(std::min(centre.row, 4 * half_steps - centre.row));
        const double height = cap < n ? 1 - cap * cap / (3 * n * n) : (2 - cap / n) * 2 / 3;
        const double z = centre.row <= 2 * half_steps ? height : -height;
        grid.lat_deg.push_back(std::asin(z) * 180 / std::numbers::pi);
        grid.lon_deg.push_back(45 * static_cast<double>(centre.column) / std::min(cap, n));
    }
    return grid;
}

std::vector<std::vector<int32_t>> healpix_neighbours(int64_t resolution)
{
    check_resolution(resolution);
    struct Corner {
        int64_t row;
        int64_t column;
        int32_t pixel;
    };
    const int64_t pixels_per_face = int64_t{1} << (2 * resolution);
    const int64_t n_side = int64_t{1} << resolution;
    std::vector<Corner> corners;
    corners.reserve(static_cast<size_t>(48 * pixels_per_face));
    for (int64_t pixel = 0; pixel < 12 * pixels_per_face; ++pixel) {
        const int64_t i = even_bits(pixel % pixels_per_face);
        const int64_t j = even_bits((pixel % pixels_per_face) >> 1);
        for (const auto& [di, dj] : {std::pair{0, 0}, {0, 1}, {1, 0}, {1, 1}}) {
            const PlanePoint at = plane_point(pixel / pixels_per_face, i + di, j + dj, n_side);
            corners.push_back({at.row, at.column, static_cast<int32_t>(pixel)});
        }
    }
    std::sort(corners.begin(), corners.end(), [](const Corner& a, const Corner& b) {
        return std::tie(a.row, a.column, a.pixel) < std::tie(b.row, b.column, b.pixel);
    });
    std::vector<std::vector<int32_t>> neighbours(static_cast<size_t>(12 * pixels_per_face));
    for (size_t begin = 0; begin < corners.size();) {
        size_t end = begin;
        while (end < corners.size() && corners[end].row == corners[begin].row &&
               corners[end].column == corners[begin].column)
            ++end;
        for (size_t a = begin; a < end; ++a) {
            for (size_t b = begin; b < end; ++b) {
                if (corners[a].pixel != corners[b].pixel)
                    neighbours[static_cast<size_t>(corners[a].pixel)].push_back(corners[b].pixel);
            }
        }
        begin = end;
    }
    for (std::vector<int32_t>& list : neighbours) {
        std::sort(list.begin(), list.end());
        list.erase(std::unique(list.begin(), list.end()), list.end());
    }
    return neighbours;
}

} // namespace gradwind::grid
