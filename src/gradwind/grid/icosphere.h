// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The refined icosahedron.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

namespace gradwind::grid
{

/// The icosahedron whose faces were quartered `resolution` times, with the numbering of trimesh (spec §1.3, §16.1).
/// The vertices of a coarser level come first, so that a vertex has one number on all levels.
class Icosphere
{
public:
    using Face = std::array<int32_t, 3>;

    /// @throws ConfigError unless 0 <= resolution <= 10
    explicit Icosphere(int64_t resolution);

    [[nodiscard]] int64_t resolution() const { return static_cast<int64_t>(faces_.size()) - 1; }
    [[nodiscard]] const std::vector<std::array<double, 3>>& vertices() const { return vertices_; }
    /// Faces of a level, 20 * 4^level of them, in trimesh's order. @throws ConfigError for a level finer than the mesh
    [[nodiscard]] const std::vector<Face>& faces(int64_t level) const;
    [[nodiscard]] static int64_t vertex_count(int64_t level) { return 10 * (int64_t{1} << (2 * level)) + 2; }

private:
    void subdivide();
    std::vector<std::array<double, 3>> vertices_;
    std::vector<std::vector<Face>> faces_; ///< [level]
};

/// Positions of the vertices in radians, rounded to single precision, and the order in which they become nodes: by
/// latitude from north to south, equal latitudes by longitude from east to west (spec §1.3).
struct OrderedVertices {
    std::vector<float> lat_rad; ///< by vertex
    std::vector<float> lon_rad;
    std::vector<int32_t> order; ///< order[node] = vertex
};
[[nodiscard]] OrderedVertices order_vertices(const Icosphere& sphere);

} // namespace gradwind::grid
