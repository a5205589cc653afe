// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Edges along the sides of meshes, at several levels.
#include <algorithm>
#include <numeric>

#include "gradwind/core/error.h"
#include "gradwind/graph/builder.h"
#include "gradwind/grid/healpix.h"

namespace gradwind::graph::detail
{

namespace
{

/// Levels named by `scale_resolutions`: an int n means 1 to n, without level 0; absent means `fallback` (spec §1.4).
std::vector<int64_t> levels_of(const Config& config, std::vector<int64_t> fallback, int64_t finest)
{
    std::vector<int64_t> levels = std::move(fallback);
    if (config.has("scale_resolutions")) {
        const Config scales = config.at("scale_resolutions");
        if (scales.is_list()) {
            if (!scales.items().empty())
                levels = scales.as<std::vector<int64_t>>();
        } else {
            levels.resize(static_cast<size_t>(std::max<int64_t>(0, scales.as<int64_t>())));
            std::iota(levels.begin(), levels.end(), 1);
        }
    }
    for (const int64_t level : levels) {
        GRADWIND_CHECK(level >= 0 && level <= finest, ConfigError,
                       "[graph] {}: level {} does not exist in a mesh of resolution {}", config.where(), level, finest);
    }
    return levels;
}

std::vector<int64_t> levels_from(int64_t first, int64_t last)
{
    std::vector<int64_t> levels;
    for (int64_t level = first; level <= last; ++level)
        levels.push_back(level);
    return levels;
}

/// Sides of the faces of one level, in face order, whose two ends are nodes.
std::vector<std::pair<int32_t, int32_t>> level_sides(const TriMesh& mesh, int64_t level)
{
    const auto taken = [&](int32_t vertex) { return mesh.node_of_vertex[static_cast<size_t>(vertex)] >= 0; };
    std::vector<std::pair<int32_t, int32_t>> sides;
    for (const grid::Icosphere::Face& face : mesh.sphere->faces(level)) {
        for (size_t i = 0; i < 3; ++i) {
            const int32_t from = face[i];
            const int32_t to = face[(i + 1) % 3];
            if (taken(from) && taken(to))
                sides.emplace_back(from, to);
        }
    }
    return sides;
}

EdgeList one_hop(const TriMesh& mesh, const std::vector<int64_t>& levels)
{
    EdgeList edges;
    for (const int64_t level : levels) {
        for (const auto& [from, to] : level_sides(mesh, level)) {
            edges.src.push_back(mesh.node_of_vertex[static_cast<size_t>(from)]);
            edges.dst.push_back(mesh.node_of_vertex[static_cast<size_t>(to)]);
        }
    }
    return edges;
}

/// Adds, as destination << 32 | source, all pairs of nodes that are at most `hops` sides of one level apart.
void add_hops(const TriMesh& mesh, int64_t level, int64_t hops, std::vector<uint64_t>& keys)
{
    std::vector<std::vector<int32_t>> neighbours(static_cast<size_t>(grid::Icosphere::vertex_count(level)));
    for (const auto& [from, to] : level_sides(mesh, level)) { // every side occurs in both directions
        neighbours[static_cast<size_t>(from)].push_back(to);
    }
    std::vector<int32_t> reached;
    std::vector<int32_t> seen_from(neighbours.size(), -1);
    for (size_t centre = 0; centre < neighbours.size(); ++centre) {
        reached.assign(1, static_cast<int32_t>(centre));
        seen_from[centre] = static_cast<int32_t>(centre);
        size_t ring_begin = 0;
        for (int64_t hop = 0; hop < hops; ++hop) {
            const size_t ring_end = reached.size();
            for (size_t r = ring_begin; r < ring_end; ++r) {
                for (const int32_t vertex : neighbours[static_cast<size_t>(reached[r])]) {
                    int32_t& seen = seen_from[static_cast<size_t>(vertex)];
                    if (seen != static_cast<int32_t>(centre))
                        reached.push_back(vertex);
                    seen = static_cast<int32_t>(centre);
                }
            }
            ring_begin = ring_end;
        }
        const auto destination = static_cast<uint64_t>(mesh.node_of_vertex[centre]);
        for (size_t r = 1; r < reached.size(); ++r)
            keys.push_back((destination << 32) |
                           static_cast<uint64_t>(mesh.node_of_vertex[static_cast<size_t>(reached[r])]));
    }
}

EdgeList several_hops(const TriMesh& mesh, const std::vector<int64_t>& levels, int64_t hops)
{
    std::vector<uint64_t> keys;
    for (const int64_t level : levels)
        add_hops(mesh, level, hops, keys);
    std::sort(keys.begin(), keys.end());
    keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
    EdgeList edges;
    for (const uint64_t key : keys) {
        edges.src.push_back(static_cast<int32_t>(key & 0xffffffff));
        edges.dst.push_back(static_cast<int32_t>(key >> 32));
    }
    return edges;
}

} // namespace

EdgeList multi_scale_edges(NodeGeometry& nodes, const std::string& set, const Config& edge_builder)
{
    check_keys(edge_builder, {"x_hops", "scale_resolutions", "source_mask_attr_name", "target_mask_attr_name"});
    GRADWIND_CHECK(
        nodes.tri.has_value(), ConfigError,
        "[graph] {} needs nodes of a refined icosahedron (TriNodes, LimitedAreaTriNodes, StretchedTriNodes); "
        "`{}` was made otherwise",
        edge_builder.where(), set);
    const int64_t hops = edge_builder.get<int64_t>("x_hops", 1);
    GRADWIND_CHECK(hops >= 1, ConfigError, "[graph] {} must be at least 1, got {}", edge_builder.at("x_hops").where(),
                   hops);
    const int64_t finest = nodes.tri->sphere->resolution();
    const std::vector<int64_t> levels = levels_of(edge_builder, levels_from(0, finest), finest);
    return hops == 1 ? one_hop(*nodes.tri, levels) : several_hops(*nodes.tri, levels, hops);
}

EdgeList healpix_multi_scale_edges(NodeGeometry& nodes, const std::string& set, const Config& edge_builder)
{
    check_keys(edge_builder, {"scale_resolutions", "source_mask_attr_name", "target_mask_attr_name"});
    GRADWIND_CHECK(nodes.healpix.has_value(), ConfigError,
                   "[graph] {} needs the nodes of HEALPixNodes; `{}` was made otherwise", edge_builder.where(), set);
    const int64_t finest = nodes.healpix->resolution;
    EdgeList edges;
    for (const int64_t level : levels_of(edge_builder, levels_from(1, finest), finest)) {
        const int step =
            static_cast<int>(2 * (finest - level)); // bits between a pixel's number here and at the finest level
        const std::vector<std::vector<int32_t>> neighbours = grid::healpix_neighbours(level);
        for (size_t pixel = 0; pixel < neighbours.size(); ++pixel) {
            for (const int32_t neighbour : neighbours[pixel]) {
                edges.src.push_back(static_cast<int32_t>(pixel) << step);
                edges.dst.push_back(neighbour << step);
            }
        }
    }
    return edges;
}

} // namespace gradwind::graph::detail
