// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/graph/build.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fmt/ranges.h>
#include <numbers>

#include "gradwind/core/error.h"
#include "gradwind/core/text.h"
#include "gradwind/graph/builder.h"

namespace gradwind::graph
{

namespace detail
{

const grid::UnitVectors& NodeGeometry::points()
{
    if (tree_)
        return tree_->points();
    if (!points_)
        points_ = grid::unit_vectors(lat_rad_, lon_rad_);
    return *points_;
}

const grid::NeighbourTree& NodeGeometry::tree()
{
    if (!tree_) {
        grid::UnitVectors points = points_ ? std::move(*points_) : grid::unit_vectors(lat_rad_, lon_rad_);
        points_.reset();
        tree_.emplace(std::move(points));
    }
    return *tree_;
}

double NodeGeometry::reference_distance()
{
    if (!reference_distance_)
        reference_distance_ = grid::reference_distance(tree());
    return *reference_distance_;
}

NodeGeometry& Builder::geometry_of(const std::string& set)
{
    const auto found = geometry.find(set);
    if (found == geometry.end())
        return geometry.emplace(set, NodeGeometry(graph.node_set(set))).first->second;
    return found->second;
}

void check_keys(const Config& config, std::span<const char* const> known)
{
    const std::vector<std::string> names(known.begin(), known.end());
    for (const std::string& key : config.keys()) {
        if (key == "_target_" || std::find(names.begin(), names.end(), key) != names.end())
            continue;
        // Defaults come from the table of keys; a storage type has no meaning here, values are float32.
        if (key == "dtype" || config.at(key).origin().source == "default")
            continue;
        throw ConfigError(fmt::format("[graph] unknown {}{}", config.at(key).where(), did_you_mean(key, names)));
    }
}

void refuse_target(const char* kind, const Config& config, const std::vector<std::string>& known,
                   std::initializer_list<const char*> not_available)
{
    const std::string target = config.target();
    const bool exists_elsewhere = std::find(not_available.begin(), not_available.end(), target) != not_available.end();
    GRADWIND_CHECK(
        !exists_elsewhere, ConfigError,
        "[graph] {} `{}` at {} is not available here; there are {}. A graph that anemoi-graphs built with it "
        "can be used: `gradwind import --graph graph.pt --output graph.safetensors`, then "
        "system.input.graph=graph.safetensors graph.overwrite=false",
        kind, target, config.where(), fmt::join(known, ", "));
    throw ConfigError(fmt::format("[graph] unknown {} `{}` at {}{}; known are {}", kind, target, config.where(),
                                  did_you_mean(target, known), fmt::join(known, ", ")));
}

NodeSet nodes_from_degrees(const std::string& name, const grid::Coordinates& coordinates)
{
    GRADWIND_CHECK(coordinates.size() > 0, DataError, "[graph] node set `{}` has no points", name);
    GRADWIND_CHECK(coordinates.lat_deg.size() == coordinates.lon_deg.size(), DataError,
                   "[graph] node set `{}` has {} latitudes and {} longitudes", name, coordinates.lat_deg.size(),
                   coordinates.lon_deg.size());
    GRADWIND_CHECK(coordinates.size() < (size_t{1} << 31), DataError,
                   "[graph] node set `{}` has {} points; at most 2^31 - 1", name, coordinates.size());
    NodeSet nodes;
    nodes.name = name;
    for (size_t i = 0; i < coordinates.size(); ++i) {
        const double lat = coordinates.lat_deg[i];
        const double lon = coordinates.lon_deg[i];
        GRADWIND_CHECK(
            std::abs(lat) <= 90.001 && std::isfinite(lon), DataError,
            "[graph] point {} of node set `{}` is at latitude {}, longitude {}; expected degrees, latitude within "
            "[-90, 90]",
            i, name, lat, lon);
        nodes.lat_rad.push_back(static_cast<float>(lat * std::numbers::pi / 180));
        nodes.lon_rad.push_back(static_cast<float>(lon * std::numbers::pi / 180));
    }
    return nodes;
}

} // namespace detail

namespace
{

using detail::Builder;
using detail::EdgeAttributeConfigs;
using detail::EdgeList;

class Timer
{
public:
    explicit Timer(BuildReport* report) : report_(report) {}
    void lap(const std::string& name, int64_t count)
    {
        const auto now = std::chrono::steady_clock::now();
        if (report_ != nullptr)
            report_->steps.push_back({name, std::chrono::duration<double>(now - start_).count(), count});
        start_ = now;
    }

private:
    BuildReport* report_;
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

void add_nodes(Builder& builder, const std::string& name, const Config& config, Timer& timer)
{
    detail::check_keys(config, {"node_builder", "attributes"});
    const auto given = builder.inputs.given_nodes.find(name);
    std::string how = "given";
    if (given != builder.inputs.given_nodes.end()) {
        builder.graph.nodes.push_back(given->second);
    } else {
        how = config.at("node_builder").target();
        detail::build_nodes(builder, name, config.at("node_builder"));
    }
    NodeSet& nodes = builder.graph.node_set(name);
    timer.lap(fmt::format("nodes {}: {}", name, how), nodes.size());
    if (!config.has("attributes"))
        return;
    for (const std::string& attribute : config.at("attributes").keys()) {
        const Config attribute_config = config.at("attributes").at(attribute);
        nodes.attributes[attribute] = detail::node_attribute(builder, nodes, attribute_config);
        timer.lap(fmt::format("nodes {}: {} ({})", name, attribute, attribute_config.target()), nodes.size());
    }
}

/// Several builders of one edge set: their union, ordered by source, then destination (spec §1.1).
EdgeList merged(const std::vector<EdgeList>& lists)
{
    std::vector<uint64_t> keys;
    for (const EdgeList& list : lists) {
        for (size_t e = 0; e < list.src.size(); ++e)
            keys.push_back((static_cast<uint64_t>(list.src[e]) << 32) | static_cast<uint64_t>(list.dst[e]));
    }
    std::sort(keys.begin(), keys.end());
    keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
    EdgeList edges;
    for (const uint64_t key : keys) {
        edges.src.push_back(static_cast<int32_t>(key >> 32));
        edges.dst.push_back(static_cast<int32_t>(key & 0xffffffff));
    }
    return edges;
}

EdgeAttributeConfigs add_edges(Builder& builder, const Config& config, Timer& timer)
{
    detail::check_keys(config, {"source_name", "target_name", "edge_builders", "attributes"});
    const auto source = config.get<std::string>("source_name");
    const auto target = config.get<std::string>("target_name");
    const NodeSet& source_nodes = builder.graph.node_set(source);
    const NodeSet& target_nodes = builder.graph.node_set(target);
    GRADWIND_CHECK(builder.graph.edge_set(source, target) == nullptr, ConfigError,
                   "[graph] edges from `{}` to `{}` are listed twice ({}); list all their edge_builders in one entry",
                   source, target, config.where());
    const std::vector<Config> builders = config.at("edge_builders").items();
    GRADWIND_CHECK(!builders.empty(), ConfigError, "[graph] {} names no edge builder",
                   config.at("edge_builders").where());
    std::vector<EdgeList> lists;
    for (const Config& edge_builder : builders) {
        lists.push_back(detail::build_edges(builder, source, target, edge_builder));
        timer.lap(fmt::format("edges {} to {}: {}", source, target, edge_builder.target()),
                  static_cast<int64_t>(lists.back().src.size()));
    }
    EdgeList list = lists.size() == 1 ? std::move(lists[0]) : merged(lists);
    EdgeSet& edges =
        builder.graph.edges.emplace_back(EdgeSet{source, target, std::move(list.src), std::move(list.dst), {}});
    EdgeAttributeConfigs attributes{source, target, {}};
    if (config.has("attributes")) {
        for (const std::string& name : config.at("attributes").keys()) {
            const Config attribute = config.at("attributes").at(name);
            edges.attributes[name] = detail::edge_attribute(edges, source_nodes, target_nodes, attribute);
            attributes.attributes.emplace_back(name, attribute);
            timer.lap(fmt::format("edges {} to {}: {} ({})", source, target, name, attribute.target()), edges.size());
        }
    }
    return attributes;
}

} // namespace

Graph build_graph(const Config& graph_section, const GraphInputs& inputs, BuildReport* report)
{
    Timer timer(report);
    Builder builder{inputs, {}, {}};
    const Config nodes = graph_section.at("nodes");
    const std::vector<std::string> names = nodes.keys();
    GRADWIND_CHECK(!names.empty(), ConfigError, "[graph] {} names no node set", nodes.where());
    builder.graph.nodes.reserve(names.size());
    for (const std::string& name : names)
        add_nodes(builder, name, nodes.at(name), timer);
    std::vector<EdgeAttributeConfigs> attributes;
    if (graph_section.has("edges")) {
        for (const Config& edges : graph_section.at("edges").items())
            attributes.push_back(add_edges(builder, edges, timer));
    }
    if (graph_section.has("post_processors")) {
        for (const Config& processor : graph_section.at("post_processors").items()) {
            detail::post_process(builder.graph, processor, attributes);
            timer.lap(fmt::format("post-processor {}", processor.target()), 0);
        }
    }
    if (report != nullptr) {
        for (auto& [name, geometry] : builder.geometry) {
            if (geometry.has_reference_distance())
                report->reference_distances[name] = geometry.reference_distance();
        }
    }
    return std::move(builder.graph);
}

} // namespace gradwind::graph
