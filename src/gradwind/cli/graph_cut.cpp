// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/cli/graph_cut.h"

#include "gradwind/cli/comm_table.h"
#include "gradwind/core/error.h"
#include "gradwind/parallel/interior.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>
#include <ostream>

namespace gradwind::cli
{

namespace
{

using parallel::Partition;
using parallel::PartitionKind;

const char* name_of(PartitionKind kind)
{
    return kind == PartitionKind::Bisection ? "bisection" : "contiguous";
}

std::map<std::string, Partition> cut_nodes(const graph::Graph& graph, const std::string& even, PartitionKind kind,
                                           int n_parts)
{
    std::vector<const graph::NodeSet*> sets = {&graph.node_set(even)};
    for (const auto& nodes : graph.nodes)
        if (nodes.name != even)
            sets.push_back(&nodes);
    auto cut = parallel::make_partitions(kind, sets, n_parts);
    std::map<std::string, Partition> result;
    for (size_t i = 0; i < sets.size(); ++i)
        result.emplace(sets[i]->name, std::move(cut[i]));
    return result;
}

double imbalance(const Partition& cut)
{
    const auto sizes = cut.sizes();
    return double(*std::max_element(sizes.begin(), sizes.end())) * cut.n_parts() / double(cut.n_rows());
}

} // namespace

std::vector<EdgeCut> cut_graph(const graph::Graph& graph, const CutOptions& options)
{
    GRADWIND_CHECK(graph.has_nodes(options.even), ConfigError,
                   "[graph] there are no nodes `{}` to cut evenly; name another set with --even", options.even);
    const auto row_bytes = options.channels * options.element_bytes;
    std::vector<EdgeCut> result;
    for (const int n_parts : options.parts)
        for (const auto kind : {PartitionKind::Contiguous, PartitionKind::Bisection}) {
            const auto nodes = cut_nodes(graph, options.even, kind, n_parts);
            for (const auto& edges : graph.edges) {
                const auto &sources = nodes.at(edges.source), &targets = nodes.at(edges.target);
                const auto sizes = sources.sizes();
                EdgeCut cut;
                cut.n_parts = n_parts;
                cut.partition = kind;
                cut.source = edges.source;
                cut.target = edges.target;
                cut.halo = parallel::count_halo(sources, targets, edges.src, edges.dst);
                cut.interior_share = parallel::least_interior_share(
                    parallel::count_interior(sources, targets, edges.src, edges.dst), targets);
                cut.layer_bytes = cut.halo.worst_halo() * row_bytes;
                cut.all_gather_bytes = (sources.n_rows() - *std::min_element(sizes.begin(), sizes.end())) * row_bytes;
                cut.source_imbalance = imbalance(sources);
                cut.target_imbalance = imbalance(targets);
                result.push_back(std::move(cut));
            }
        }
    return result;
}

void print_cuts(const std::vector<EdgeCut>& cuts, const CutOptions& options, std::ostream& out)
{
    out << fmt::format(
        "Halo rows over owned rows, mean and worst process; interior: least share of a process's targets that need no "
        "halo;\nwhat the busiest process receives in a layer ({} channels of {} bytes) and what an all-gather of the "
        "sources\nwould be; most nodes and edges of a process over the mean\n\n",
        options.channels, options.element_bytes);
    out << fmt::format("{:>3} {:<10} {:<16} {:>6} {:>6} {:>8} {:>10} {:>10} {:>5} {:>8} {:>8} {:>6}\n", "M",
                       "partition", "edges", "mean", "worst", "interior", "layer", "all-gather", "from", "sources",
                       "targets", "edges");
    for (const auto& cut : cuts)
        out << fmt::format(
            "{:>3} {:<10} {:<16} {:>5.1f}% {:>5.1f}% {:>7.1f}% {:>10} {:>10} {:>5} {:>8.3f} {:>8.3f} {:>6.3f}\n",
            cut.n_parts, name_of(cut.partition), cut.source + "->" + cut.target, 100 * cut.halo.mean_ratio(),
            100 * cut.halo.worst_ratio(), 100 * cut.interior_share, bytes_text(double(cut.layer_bytes)),
            bytes_text(double(cut.all_gather_bytes)), cut.halo.most_neighbours(), cut.source_imbalance,
            cut.target_imbalance, cut.halo.edge_imbalance());
}

nlohmann::json to_json(const std::vector<EdgeCut>& cuts)
{
    auto result = nlohmann::json::array();
    for (const auto& cut : cuts)
        result.push_back({{"processes", cut.n_parts},
                          {"partition", name_of(cut.partition)},
                          {"source", cut.source},
                          {"target", cut.target},
                          {"halo_ratio_mean", cut.halo.mean_ratio()},
                          {"halo_ratio_worst", cut.halo.worst_ratio()},
                          {"interior_share", cut.interior_share},
                          {"layer_bytes", cut.layer_bytes},
                          {"all_gather_bytes", cut.all_gather_bytes},
                          {"neighbours", cut.halo.most_neighbours()},
                          {"source_imbalance", cut.source_imbalance},
                          {"target_imbalance", cut.target_imbalance},
                          {"edge_imbalance", cut.halo.edge_imbalance()}});
    return result;
}

} // namespace gradwind::cli
