// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/graph/statistics.h"

#include "gradwind/grid/sphere.h"

#include <algorithm>
#include <numbers>

namespace gradwind::graph
{

namespace
{

/// @param value  of element i
template <class Value>
Range range_of(size_t n, const Value& value)
{
    if (n == 0)
        return {};
    Range range{value(0), 0, value(0)};
    for (size_t i = 0; i < n; ++i) {
        const double x = value(i);
        range.min = std::min(range.min, x);
        range.max = std::max(range.max, x);
        range.mean += x;
    }
    range.mean /= static_cast<double>(n);
    return range;
}

std::vector<AttributeSummary> summarise(const std::map<std::string, Attribute>& attributes)
{
    std::vector<AttributeSummary> result;
    for (const auto& [name, attribute] : attributes) {
        const std::vector<float>& values = attribute.values;
        result.push_back({name, attribute.n_cols, range_of(values.size(), [&](size_t i) { return values[i]; })});
    }
    return result;
}

std::vector<int64_t> degrees(const std::vector<int32_t>& ids, int64_t n_nodes)
{
    std::vector<int64_t> count(static_cast<size_t>(n_nodes), 0);
    for (const int32_t id : ids)
        ++count[static_cast<size_t>(id)];
    return count;
}

EdgeSummary summarise(const Graph& graph, const EdgeSet& edges)
{
    const NodeSet& source = graph.node_set(edges.source);
    const NodeSet& target = graph.node_set(edges.target);
    const grid::UnitVectors from = grid::unit_vectors(source.lat_rad, source.lon_rad);
    const grid::UnitVectors to = grid::unit_vectors(target.lat_rad, target.lon_rad);
    const std::vector<int64_t> leaving = degrees(edges.src, source.size());
    const std::vector<int64_t> entering = degrees(edges.dst, target.size());
    const auto range_of_counts = [](const std::vector<int64_t>& counts) {
        return range_of(counts.size(), [&](size_t i) { return static_cast<double>(counts[i]); });
    };
    EdgeSummary summary;
    summary.source = edges.source;
    summary.target = edges.target;
    summary.count = edges.size();
    summary.length_km = range_of(edges.src.size(), [&](size_t e) {
        const auto s = static_cast<size_t>(edges.src[e]);
        const auto t = static_cast<size_t>(edges.dst[e]);
        return grid::arc_of_chord(grid::chord(from[s], to[t])) * grid::kEarthRadiusKm;
    });
    summary.edges_per_target = range_of_counts(entering);
    summary.edges_per_source = range_of_counts(leaving);
    summary.targets_without_edges = std::count(entering.begin(), entering.end(), 0);
    summary.sources_without_edges = std::count(leaving.begin(), leaving.end(), 0);
    summary.attributes = summarise(edges.attributes);
    return summary;
}

int64_t count_unconnected(const Graph& graph, const NodeSet& nodes)
{
    std::vector<uint8_t> connected(nodes.lat_rad.size(), 0);
    for (const EdgeSet& edges : graph.edges) {
        if (edges.source == nodes.name) {
            for (const int32_t id : edges.src)
                connected[static_cast<size_t>(id)] = 1;
        }
        if (edges.target == nodes.name) {
            for (const int32_t id : edges.dst)
                connected[static_cast<size_t>(id)] = 1;
        }
    }
    return std::count(connected.begin(), connected.end(), 0);
}

} // namespace

GraphSummary summarise(const Graph& graph)
{
    constexpr double kDegrees = 180 / std::numbers::pi;
    GraphSummary summary;
    for (const NodeSet& nodes : graph.nodes) {
        const auto range = [&](const std::vector<float>& radians) {
            return range_of(radians.size(), [&](size_t i) { return radians[i] * kDegrees; });
        };
        summary.nodes.push_back({nodes.name, nodes.size(), range(nodes.lat_rad), range(nodes.lon_rad),
                                 count_unconnected(graph, nodes), summarise(nodes.attributes)});
    }
    for (const EdgeSet& edges : graph.edges)
        summary.edges.push_back(summarise(graph, edges));
    return summary;
}

} // namespace gradwind::graph
