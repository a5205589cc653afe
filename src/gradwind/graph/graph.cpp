// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/graph/graph.h"

#include <algorithm>
#include <fmt/ranges.h>

#include "gradwind/core/error.h"
#include "gradwind/core/text.h"

namespace gradwind::graph
{

namespace
{

template <class Sets>
auto find_nodes(Sets& sets, const std::string& name)
{
    return std::find_if(sets.begin(), sets.end(), [&](const NodeSet& nodes) { return nodes.name == name; });
}

[[noreturn]] void throw_unknown_nodes(const Graph& graph, const std::string& name)
{
    std::vector<std::string> names;
    for (const NodeSet& nodes : graph.nodes)
        names.push_back(nodes.name);
    throw ConfigError(fmt::format("[graph] there is no node set `{}`{}; the graph has: {}", name,
                                  did_you_mean(name, names),
                                  names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "))));
}

void select_rows(Attribute& attribute, const std::vector<int64_t>& rows)
{
    Attribute selected{static_cast<int64_t>(rows.size()), attribute.n_cols, {}};
    selected.values.reserve(rows.size() * static_cast<size_t>(attribute.n_cols));
    for (const int64_t row : rows) {
        const auto begin = attribute.values.begin() + row * attribute.n_cols;
        selected.values.insert(selected.values.end(), begin, begin + attribute.n_cols);
    }
    attribute = std::move(selected);
}

} // namespace

bool Graph::has_nodes(const std::string& name) const
{
    return find_nodes(nodes, name) != nodes.end();
}

const NodeSet& Graph::node_set(const std::string& name) const
{
    const auto found = find_nodes(nodes, name);
    if (found == nodes.end())
        throw_unknown_nodes(*this, name);
    return *found;
}

NodeSet& Graph::node_set(const std::string& name)
{
    const auto found = find_nodes(nodes, name);
    if (found == nodes.end())
        throw_unknown_nodes(*this, name);
    return *found;
}

const EdgeSet* Graph::edge_set(const std::string& source, const std::string& target) const
{
    for (const EdgeSet& set : edges) {
        if (set.source == source && set.target == target)
            return &set;
    }
    return nullptr;
}

std::vector<uint8_t> node_mask(const NodeSet& nodes, const std::string& attribute)
{
    const auto found = nodes.attributes.find(attribute);
    if (found == nodes.attributes.end()) {
        std::vector<std::string> names;
        for (const auto& entry : nodes.attributes)
            names.push_back(entry.first);
        throw ConfigError(fmt::format("[graph] node set `{}` has no attribute `{}` to be used as a mask{}; it has: {}",
                                      nodes.name, attribute, did_you_mean(attribute, names),
                                      names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "))));
    }
    GRADWIND_CHECK(found->second.n_cols == 1, ConfigError,
                   "[graph] attribute `{}` of node set `{}` has {} columns; a mask has one", attribute, nodes.name,
                   found->second.n_cols);
    std::vector<uint8_t> mask;
    mask.reserve(found->second.values.size());
    for (const float value : found->second.values)
        mask.push_back(value != 0 ? 1 : 0);
    return mask;
}

SortedEdges sort_by_destination(const EdgeSet& edges)
{
    // Counting sort: stable, and linear in the number of edges.
    const size_t n_edges = edges.src.size();
    const int32_t n_nodes = n_edges == 0 ? 0 : *std::max_element(edges.dst.begin(), edges.dst.end()) + 1;
    std::vector<int64_t> next(static_cast<size_t>(n_nodes) + 1, 0);
    for (const int32_t dst : edges.dst)
        ++next[static_cast<size_t>(dst) + 1];
    for (size_t i = 1; i < next.size(); ++i)
        next[i] += next[i - 1];
    SortedEdges sorted{std::vector<int32_t>(n_edges), std::vector<int32_t>(n_edges), std::vector<int32_t>(n_edges)};
    for (size_t e = 0; e < n_edges; ++e) {
        const auto at = static_cast<size_t>(next[static_cast<size_t>(edges.dst[e])]++);
        sorted.src[at] = edges.src[e];
        sorted.dst[at] = edges.dst[e];
        sorted.permutation[at] = static_cast<int32_t>(e);
    }
    return sorted;
}

void select_edges(EdgeSet& edges, const std::vector<int64_t>& numbers)
{
    EdgeSet selected{edges.source, edges.target, {}, {}, std::move(edges.attributes)};
    for (const int64_t number : numbers) {
        selected.src.push_back(edges.src[static_cast<size_t>(number)]);
        selected.dst.push_back(edges.dst[static_cast<size_t>(number)]);
    }
    for (auto& [name, attribute] : selected.attributes)
        select_rows(attribute, numbers);
    edges = std::move(selected);
}

void keep_nodes(Graph& graph, const std::string& set, const std::vector<uint8_t>& mask)
{
    NodeSet& nodes = graph.node_set(set);
    GRADWIND_ASSERT(mask.size() == nodes.lat_rad.size());
    std::vector<int64_t> kept;
    std::vector<int32_t> new_id(mask.size(), -1);
    for (size_t i = 0; i < mask.size(); ++i) {
        if (mask[i] != 0) {
            new_id[i] = static_cast<int32_t>(kept.size());
            kept.push_back(static_cast<int64_t>(i));
        }
    }
    for (std::vector<float>* coordinates : {&nodes.lat_rad, &nodes.lon_rad}) {
        std::vector<float> selected;
        for (const int64_t i : kept)
            selected.push_back((*coordinates)[static_cast<size_t>(i)]);
        *coordinates = std::move(selected);
    }
    for (auto& [name, attribute] : nodes.attributes)
        select_rows(attribute, kept);
    for (EdgeSet& edges : graph.edges) {
        const bool at_source = edges.source == set;
        const bool at_target = edges.target == set;
        std::vector<int64_t> numbers;
        for (size_t e = 0; e < edges.src.size(); ++e) {
            const bool source_kept = !at_source || mask[static_cast<size_t>(edges.src[e])] != 0;
            const bool target_kept = !at_target || mask[static_cast<size_t>(edges.dst[e])] != 0;
            if (source_kept && target_kept)
                numbers.push_back(static_cast<int64_t>(e));
        }
        select_edges(edges, numbers);
        for (size_t e = 0; e < edges.src.size(); ++e) {
            if (at_source)
                edges.src[e] = new_id[static_cast<size_t>(edges.src[e])];
            if (at_target)
                edges.dst[e] = new_id[static_cast<size_t>(edges.dst[e])];
        }
    }
}

} // namespace gradwind::graph
