// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Numbers that tell at a glance whether a graph is what was meant.
#pragma once
#include "gradwind/graph/graph.h"

#include <cstdint>
#include <string>
#include <vector>

namespace gradwind::graph
{

struct Range {
    double min = 0;
    double mean = 0;
    double max = 0;
};

struct AttributeSummary {
    std::string name;
    int64_t n_cols = 0;
    Range values;
};

struct NodeSummary {
    std::string name;
    int64_t count = 0;
    Range lat_deg;
    Range lon_deg;
    int64_t unconnected = 0; ///< nodes at which no edge of any set begins or ends
    std::vector<AttributeSummary> attributes;
};

struct EdgeSummary {
    std::string source;
    std::string target;
    int64_t count = 0;
    Range length_km;
    Range edges_per_target; ///< over all nodes of the target set
    Range edges_per_source;
    int64_t targets_without_edges = 0;
    int64_t sources_without_edges = 0;
    std::vector<AttributeSummary> attributes;
};

struct GraphSummary {
    std::vector<NodeSummary> nodes;
    std::vector<EdgeSummary> edges;
};

[[nodiscard]] GraphSummary summarise(const Graph& graph);

} // namespace gradwind::graph
