// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What it costs to share a stored graph between processes.
#pragma once
#include "gradwind/parallel/partition.h"

#include <nlohmann/json_fwd.hpp>

#include <iosfwd>
#include <string>
#include <vector>

namespace gradwind::cli
{

/// One edge set over so many processes, which own the edges that arrive at their nodes.
struct EdgeCut {
    int n_parts = 1;
    parallel::PartitionKind partition = parallel::PartitionKind::Contiguous;
    std::string source, target;
    parallel::HaloCount halo;
    /// Targets that need none of the halo over all, of the process that has least of them.
    double interior_share = 1;
    int64_t layer_bytes = 0;                           ///< that the busiest process receives in a layer
    int64_t all_gather_bytes = 0;                      ///< the same if it were given all sources
    double source_imbalance = 1, target_imbalance = 1; ///< most nodes of a process over the mean
};

struct CutOptions {
    std::vector<int> parts = {2, 4, 8, 16};
    int64_t channels = 1024;
    int64_t element_bytes = 2;
    std::string even = "hidden"; ///< the node set that is cut evenly; the others by the same planes
};

/// Both partitions of every edge set. @throws ConfigError for more processes than nodes, or a node set that is not
/// there
[[nodiscard]] std::vector<EdgeCut> cut_graph(const graph::Graph& graph, const CutOptions& options);

void print_cuts(const std::vector<EdgeCut>& cuts, const CutOptions& options, std::ostream& out);
[[nodiscard]] nlohmann::json to_json(const std::vector<EdgeCut>& cuts);

} // namespace gradwind::cli
