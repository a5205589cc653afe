// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cmath>
#include <fmt/ranges.h>
#include <numbers>
#include <numeric>

#include "gradwind/core/error.h"
#include "gradwind/core/text.h"
#include "gradwind/graph/builder.h"
#include "gradwind/grid/sphere.h"

namespace gradwind::graph::detail
{

namespace
{

using AttributeConfigs = std::vector<EdgeAttributeConfigs>;

/// Keeps the numbers that the nodes had before some were removed, if that is asked for.
void save_indices(NodeSet& nodes, const Config& config)
{
    if (!config.has("save_mask_indices_to_attr"))
        return;
    GRADWIND_CHECK(nodes.size() <= (int64_t{1} << 24), ConfigError,
                   "[graph] {}: numbers of {} nodes do not fit a float32 attribute",
                   config.at("save_mask_indices_to_attr").where(), nodes.size());
    Attribute& indices = nodes.attributes[config.get<std::string>("save_mask_indices_to_attr")];
    indices = {nodes.size(), 1, std::vector<float>(static_cast<size_t>(nodes.size()))};
    std::iota(indices.values.begin(), indices.values.end(), 0.0f);
}

void remove_unconnected(Graph& graph, const Config& config, const AttributeConfigs&)
{
    check_keys(config, {"nodes_name", "ignore", "save_mask_indices_to_attr"});
    const auto name = config.get<std::string>("nodes_name");
    NodeSet& nodes = graph.node_set(name);
    std::vector<uint8_t> connected(static_cast<size_t>(nodes.size()), 0);
    if (config.has("ignore"))
        connected = node_mask(nodes, config.get<std::string>("ignore"));
    for (const EdgeSet& edges : graph.edges) {
        if (edges.source == name) {
            for (const int32_t node : edges.src)
                connected[static_cast<size_t>(node)] = 1;
        }
        if (edges.target == name) {
            for (const int32_t node : edges.dst)
                connected[static_cast<size_t>(node)] = 1;
        }
    }
    save_indices(nodes, config);
    keep_nodes(graph, name, connected);
}

/// area: north, west, south, east in degrees; west may lie east of east across the date line.
void subset_in_area(Graph& graph, const Config& config, const AttributeConfigs&)
{
    check_keys(config, {"nodes_name", "area", "save_mask_indices_to_attr"});
    const auto name = config.get<std::string>("nodes_name");
    const auto area = config.get<std::vector<double>>("area");
    GRADWIND_CHECK(area.size() == 4 && area[0] >= area[2], ConfigError,
                   "[graph] {} must be [north, west, south, east] in degrees, got [{}]", config.at("area").where(),
                   fmt::join(area, ", "));
    const auto turn = [](double degrees) { return std::fmod(std::fmod(degrees, 360) + 360, 360); };
    const double width = area[3] - area[1] >= 360 ? 360 : turn(area[3] - area[1]);
    NodeSet& nodes = graph.node_set(name);
    std::vector<uint8_t> mask;
    for (size_t i = 0; i < nodes.lat_rad.size(); ++i) {
        const double lat = nodes.lat_rad[i] * 180 / std::numbers::pi;
        const double lon = nodes.lon_rad[i] * 180 / std::numbers::pi;
        mask.push_back(lat <= area[0] && lat >= area[2] && turn(lon - area[1]) <= width ? 1 : 0);
    }
    GRADWIND_CHECK(std::find(mask.begin(), mask.end(), 1) != mask.end(), ConfigError,
                   "[graph] {} holds none of the {} nodes of `{}`", config.at("area").where(), nodes.size(), name);
    save_indices(nodes, config);
    keep_nodes(graph, name, mask);
}

EdgeSet& edges_between(Graph& graph, const Config& config)
{
    const auto source = config.get<std::string>("source_name");
    const auto target = config.get<std::string>("target_name");
    for (EdgeSet& edges : graph.edges) {
        if (edges.source == source && edges.target == target)
            return edges;
    }
    throw ConfigError(
        fmt::format("[graph] {}: the graph has no edges from `{}` to `{}`", config.where(), source, target));
}

void compute_attributes_again(Graph& graph, EdgeSet& edges, const AttributeConfigs& configs)
{
    for (const EdgeAttributeConfigs& entry : configs) {
        if (entry.source != edges.source || entry.target != edges.target)
            continue;
        for (const auto& [name, config] : entry.attributes)
            edges.attributes[name] =
                edge_attribute(edges, graph.node_set(entry.source), graph.node_set(entry.target), config);
    }
}

/// Removes edges longer than a limit along the surface, where masks, if given, select both ends.
void restrict_length(Graph& graph, const Config& config, const AttributeConfigs& configs)
{
    check_keys(config,
               {"source_name", "target_name", "max_length_km", "source_mask_attr_name", "target_mask_attr_name"});
    EdgeSet& edges = edges_between(graph, config);
    const auto limit_km = config.get<double>("max_length_km");
    GRADWIND_CHECK(limit_km > 0, ConfigError, "[graph] {} must be positive, got {}", config.at("max_length_km").where(),
                   limit_km);
    const NodeSet& source = graph.node_set(edges.source);
    const NodeSet& target = graph.node_set(edges.target);
    const auto mask = [&](const NodeSet& nodes, const char* key) {
        return config.has(key) ? node_mask(nodes, config.get<std::string>(key))
                               : std::vector<uint8_t>(static_cast<size_t>(nodes.size()), 1);
    };
    const std::vector<uint8_t> source_mask = mask(source, "source_mask_attr_name");
    const std::vector<uint8_t> target_mask = mask(target, "target_mask_attr_name");
    const grid::UnitVectors from = grid::unit_vectors(source.lat_rad, source.lon_rad);
    const grid::UnitVectors to = grid::unit_vectors(target.lat_rad, target.lon_rad);
    std::vector<int64_t> kept;
    for (size_t e = 0; e < edges.src.size(); ++e) {
        const auto s = static_cast<size_t>(edges.src[e]);
        const auto t = static_cast<size_t>(edges.dst[e]);
        const bool applies = source_mask[s] != 0 && target_mask[t] != 0;
        if (!applies || grid::arc_of_chord(grid::chord(from[s], to[t])) * grid::kEarthRadiusKm <= limit_km)
            kept.push_back(static_cast<int64_t>(e));
    }
    select_edges(edges, kept);
    compute_attributes_again(graph, edges, configs);
}

void remove_self_edges(Graph& graph, const Config& config, const AttributeConfigs& configs)
{
    check_keys(config, {"source_name", "target_name"});
    EdgeSet& edges = edges_between(graph, config);
    GRADWIND_CHECK(edges.source == edges.target, ConfigError,
                   "[graph] {}: only a node set joined with itself has self edges", config.where());
    std::vector<int64_t> kept;
    for (size_t e = 0; e < edges.src.size(); ++e) {
        if (edges.src[e] != edges.dst[e])
            kept.push_back(static_cast<int64_t>(e));
    }
    select_edges(edges, kept);
    compute_attributes_again(graph, edges, configs);
}

void sort_edges(Graph& graph, const Config& config, std::vector<int32_t> EdgeSet::*key)
{
    check_keys(config, {"descending"});
    const bool descending = config.get<bool>("descending", true);
    for (EdgeSet& edges : graph.edges) {
        std::vector<int64_t> order(edges.src.size());
        std::iota(order.begin(), order.end(), 0);
        const std::vector<int32_t>& ids = edges.*key;
        std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
            const int32_t left = ids[static_cast<size_t>(a)];
            const int32_t right = ids[static_cast<size_t>(b)];
            return descending ? left > right : left < right;
        });
        select_edges(edges, order);
    }
}

void sort_by_source(Graph& graph, const Config& config, const AttributeConfigs&)
{
    sort_edges(graph, config, &EdgeSet::src);
}

void sort_by_target(Graph& graph, const Config& config, const AttributeConfigs&)
{
    sort_edges(graph, config, &EdgeSet::dst);
}

using Processor = void (*)(Graph&, const Config&, const AttributeConfigs&);
constexpr std::array<std::pair<const char*, Processor>, 6> kProcessors{{
    {"RemoveUnconnectedNodes", remove_unconnected},
    {"SubsetNodesInArea", subset_in_area},
    {"RestrictEdgeLength", restrict_length},
    {"RemoveSelfEdges", remove_self_edges},
    {"SortEdgeIndexBySourceNodes", sort_by_source},
    {"SortEdgeIndexByTargetNodes", sort_by_target},
}};

} // namespace

void post_process(Graph& graph, const Config& processor, const std::vector<EdgeAttributeConfigs>& attributes)
{
    const std::string name = processor.target();
    std::vector<std::string> known;
    for (const auto& [known_name, run] : kProcessors) {
        if (name == known_name) {
            run(graph, processor, attributes);
            return;
        }
        known.emplace_back(known_name);
    }
    throw ConfigError(fmt::format("[graph] unknown post-processor `{}` at {}{}; known are {}", name, processor.where(),
                                  did_you_mean(name, known), fmt::join(known, ", ")));
}

} // namespace gradwind::graph::detail
