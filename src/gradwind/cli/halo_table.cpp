// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/cli/halo_table.h"

#include "gradwind/cli/comm_table.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace gradwind::cli
{
namespace
{

const char* name_of(parallel::PartitionKind kind)
{
    return kind == parallel::PartitionKind::Bisection ? "bisection" : "contiguous";
}

const char* name_of(model::ShardStrategy strategy)
{
    constexpr const char* kNames[] = {"edges", "heads", "sequence"};
    return kNames[size_t(strategy)];
}

int64_t bytes_of_element(const train::PartTraffic& part, const train::PassCost& cost)
{
    return part.of_fields ? cost.field_bytes : cost.element_bytes;
}

/// Bytes that the busiest rank of a part receives for one sample in one layer.
int64_t layer_bytes(const train::PartTraffic& part, const train::PassCost& cost)
{
    int64_t most = 0;
    for (size_t rank = 0; rank < part.rows.parts.size(); ++rank)
        most = std::max(most, part.received_elements(int(rank)));
    return most * bytes_of_element(part, cost);
}

/// The same if every rank were given all rows.
int64_t gathered_bytes(const train::PartTraffic& part, const train::PassCost& cost)
{
    int64_t all = 0, least = INT64_MAX;
    for (const auto& rank : part.rows.parts) {
        all += rank.n_sources;
        least = std::min(least, rank.n_sources);
    }
    return (all - least) * part.work.columns * bytes_of_element(part, cost);
}

/// Of the busiest rank, forward and backward, in an optimiser step.
int64_t step_bytes(const train::GroupTraffic& group, const train::StepTraffic& traffic, int64_t samples)
{
    int64_t most = 0;
    for (size_t rank = 0; !group.parts.empty() && rank < group.parts.front().rows.parts.size(); ++rank)
        most = std::max(most, group.bytes_per_sample(int(rank), traffic.cost));
    return most * samples;
}

} // namespace

std::vector<std::string> halo_table(const train::StepTraffic& traffic, int64_t samples)
{
    std::vector<std::string> lines;
    if (traffic.groups.empty())
        return lines;
    lines.push_back(fmt::format("{:<12} {:<10} {:<16} {:<8} {:>6} {:>6} {:>8} {:>8} {:>6} {:>9} {:>5} {:>10}",
                                "partition", "part", "nodes", "shared", "halo", "worst", "interior", "edges x", "from",
                                "layers", "", "all-gather"));
    for (const auto& group : traffic.groups) {
        for (const auto& part : group.parts)
            lines.push_back(
                fmt::format("{:<12} {:<10} {:<16} {:<8} {:>5.1f}% {:>5.1f}% {:>8} {:>8.3f} {:>6} {:>9} x {:>8} {:>10}",
                            name_of(group.partition), part.part, part.source + "->" + part.target,
                            name_of(part.work.strategy), 100 * part.rows.mean_ratio(), 100 * part.rows.worst_ratio(),
                            part.interior_share ? fmt::format("{:.1f}%", 100 * *part.interior_share) : "-",
                            part.rows.edge_imbalance(), part.rows.most_neighbours(), part.work.layers,
                            bytes_text(double(layer_bytes(part, traffic.cost))),
                            bytes_text(double(gathered_bytes(part, traffic.cost)))));
        if (!group.refusal.empty()) {
            lines.push_back(fmt::format("{:<12} not with this network: {}", name_of(group.partition), group.refusal));
            continue;
        }
        std::string nodes;
        for (const auto& [name, imbalance] : group.imbalance)
            nodes += fmt::format(", {} nodes x{:.3f}", name, imbalance);
        lines.push_back(fmt::format("{:<12} {} per step and rank at most{}{}", name_of(group.partition),
                                    bytes_text(double(step_bytes(group, traffic, samples))), nodes,
                                    group.is_chosen ? "; chosen" : ""));
    }
    return lines;
}

nlohmann::json halo_json(const train::StepTraffic& traffic, int64_t samples)
{
    auto result = nlohmann::json::array();
    for (const auto& group : traffic.groups) {
        nlohmann::json entry = {{"partition", name_of(group.partition)},
                                {"chosen", group.is_chosen},
                                {"bytes_per_step", step_bytes(group, traffic, samples)},
                                {"node_imbalance", group.imbalance}};
        if (!group.refusal.empty())
            entry["refusal"] = group.refusal;
        for (const auto& part : group.parts)
            entry["parts"].push_back({{"part", part.part},
                                      {"source", part.source},
                                      {"target", part.target},
                                      {"strategy", name_of(part.work.strategy)},
                                      {"layers", part.work.layers},
                                      {"halo_ratio_mean", part.rows.mean_ratio()},
                                      {"halo_ratio_worst", part.rows.worst_ratio()},
                                      {"interior_share", part.interior_share.value_or(1)},
                                      {"edge_imbalance", part.rows.edge_imbalance()},
                                      {"neighbours", part.rows.most_neighbours()},
                                      {"layer_bytes", layer_bytes(part, traffic.cost)},
                                      {"all_gather_bytes", gathered_bytes(part, traffic.cost)}});
        result.push_back(std::move(entry));
    }
    return result;
}

} // namespace gradwind::cli
