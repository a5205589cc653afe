// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/grid/icosphere.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "gradwind/core/error.h"

namespace gradwind::grid
{

namespace
{

constexpr int64_t kFinest = 10; // ten million vertices

constexpr double kShort = 0.5257311121191336;
constexpr double kLong = 0.85065080835204;

constexpr std::array<std::array<double, 3>, 12> kVertices{{{-kShort, kLong, 0},
                                                           {kShort, kLong, 0},
                                                           {-kShort, -kLong, 0},
                                                           {kShort, -kLong, 0},
                                                           {0, -kShort, kLong},
                                                           {0, kShort, kLong},
                                                           {0, -kShort, -kLong},
                                                           {0, kShort, -kLong},
                                                           {kLong, 0, -kShort},
                                                           {kLong, 0, kShort},
                                                           {-kLong, 0, -kShort},
                                                           {-kLong, 0, kShort}}};

constexpr std::array<Icosphere::Face, 20> kFaces{{{0, 11, 5}, {0, 5, 1},  {0, 1, 7},   {0, 7, 10}, {0, 10, 11},
                                                  {1, 5, 9},  {5, 11, 4}, {11, 10, 2}, {10, 7, 6}, {7, 1, 8},
                                                  {3, 9, 4},  {3, 4, 2},  {3, 2, 6},   {3, 6, 8},  {3, 8, 9},
                                                  {4, 9, 5},  {2, 4, 11}, {6, 2, 10},  {8, 6, 7},  {9, 8, 1}}};

// Orders pairs of vertices by the larger, then by the smaller number.
uint64_t edge_key(int32_t a, int32_t b)
{
    return (static_cast<uint64_t>(std::max(a, b)) << 32) | static_cast<uint64_t>(std::min(a, b));
}

} // namespace

Icosphere::Icosphere(int64_t resolution)
{
    GRADWIND_CHECK(resolution >= 0 && resolution <= kFinest, ConfigError,
                   "[grid] the icosahedron can be refined 0 to {} times, got {}", kFinest, resolution);
    vertices_.assign(kVertices.begin(), kVertices.end());
    faces_.emplace_back(kFaces.begin(), kFaces.end());
    for (int64_t level = 0; level < resolution; ++level)
        subdivide();
}

void Icosphere::subdivide()
{
    const std::vector<Face>& coarse = faces_.back();
    std::vector<uint64_t> edges;
    edges.reserve(3 * coarse.size());
    for (const Face& face : coarse) {
        for (size_t i = 0; i < 3; ++i)
            edges.push_back(edge_key(face[i], face[(i + 1) % 3]));
    }
    std::sort(edges.begin(), edges.end());
    edges.erase(std::unique(edges.begin(), edges.end()), edges.end());

    const size_t n_coarse = vertices_.size();
    vertices_.reserve(n_coarse + edges.size());
    for (const uint64_t edge : edges) {
        const auto& a = vertices_[edge & 0xffffffff];
        const auto& b = vertices_[edge >> 32];
        vertices_.push_back({(a[0] + b[0]) / 2, (a[1] + b[1]) / 2, (a[2] + b[2]) / 2});
    }
    for (auto& v : vertices_) {
        const double norm = std::sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
        for (double& x : v)
            x += x / norm * (1 - norm);
    }
    const auto middle = [&](int32_t a, int32_t b) {
        const auto found = std::lower_bound(edges.begin(), edges.end(), edge_key(a, b));
        return static_cast<int32_t>(n_coarse + static_cast<size_t>(found - edges.begin()));
    };
    std::vector<Face> fine;
    fine.reserve(4 * coarse.size());
    for (const auto& [a, b, c] : coarse) {
        const int32_t ab = middle(a, b);
        const int32_t bc = middle(b, c);
        const int32_t ca = middle(c, a);
        fine.push_back({a, ab, ca});
        fine.push_back({ab, b, bc});
        fine.push_back({ca, bc, c});
        fine.push_back({ab, bc, ca});
    }
    faces_.push_back(std::move(fine));
}

const std::vector<Icosphere::Face>& Icosphere::faces(int64_t level) const
{
    GRADWIND_CHECK(level >= 0 && level <= resolution(), ConfigError,
                   "[grid] level {} does not exist: the mesh was refined {} times", level, resolution());
    return faces_[static_cast<size_t>(level)];
}

OrderedVertices order_vertices(const Icosphere& sphere)
{
    OrderedVertices result;
    for (const auto& [x, y, z] : sphere.vertices()) {
        result.lat_rad.push_back(static_cast<float>(std::asin(std::clamp(z / (x * x + y * y + z * z), -1.0, 1.0))));
        result.lon_rad.push_back(static_cast<float>(std::atan2(y, x)));
    }
    result.order.resize(result.lat_rad.size());
    std::iota(result.order.begin(), result.order.end(), 0);
    std::stable_sort(result.order.begin(), result.order.end(), [&](int32_t a, int32_t b) {
        const auto i = static_cast<size_t>(a);
        const auto j = static_cast<size_t>(b);
        if (result.lat_rad[i] != result.lat_rad[j])
            return result.lat_rad[i] > result.lat_rad[j];
        return result.lon_rad[i] > result.lon_rad[j];
    });
    return result;
}

} // namespace gradwind::grid
