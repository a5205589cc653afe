// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The refined icosahedron with the edges of all its levels but the coarsest.
#pragma once
#include "gradwind/graph/graph.h"
#include "gradwind/grid/icosphere.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace gradwind::test
{

/// Nodes from north to south, directed edges of levels 1 to `level` in both directions, sorted by destination.
struct Mesh {
    graph::NodeSet nodes;
    std::vector<int64_t> node_of_vertex;
    std::vector<int32_t> src, dst;

    explicit Mesh(int64_t level, const char* name = "hidden")
    {
        const grid::Icosphere sphere(level);
        const auto ordered = grid::order_vertices(sphere);
        nodes.name = name;
        node_of_vertex.resize(ordered.order.size());
        for (size_t node = 0; node < ordered.order.size(); ++node) {
            const auto vertex = size_t(ordered.order[node]);
            nodes.lat_rad.push_back(ordered.lat_rad[vertex]);
            nodes.lon_rad.push_back(ordered.lon_rad[vertex]);
            node_of_vertex[vertex] = int64_t(node);
        }
        std::vector<std::pair<int32_t, int32_t>> edges; // destination, source
        for (int64_t l = 1; l <= level; ++l)
            for (const auto& face : sphere.faces(l))
                for (size_t corner = 0; corner < 3; ++corner) {
                    const auto a = int32_t(node_of_vertex[size_t(face[corner])]);
                    const auto b = int32_t(node_of_vertex[size_t(face[(corner + 1) % 3])]);
                    edges.emplace_back(a, b);
                    edges.emplace_back(b, a);
                }
        std::sort(edges.begin(), edges.end());
        edges.erase(std::unique(edges.begin(), edges.end()), edges.end());
        for (const auto& [to, from] : edges) {
            src.push_back(from);
            dst.push_back(to);
        }
    }
};

} // namespace gradwind::test
