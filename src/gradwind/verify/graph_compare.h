// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Holds a graph against a stored one whose nodes and edges may come in another order.
#pragma once
#include "gradwind/graph/graph.h"
#include "gradwind/verify/report.h"

#include <string>

namespace gradwind::verify
{

/// Adds one check per node set (positions), edge set (edges that only one of the two has) and attribute of `stored`.
///
/// Nodes are matched by position (1e-6 rad). Edges are compared as sets; where one graph has an edge to (or from) a
/// node and the other has one of the same length (1e-6 relative), either is right. Attributes are compared on common
/// nodes and edges: norm of the difference over norm of the stored values, to 1e-5; where edges were replaced by others
/// of equal length, a common factor is allowed for, as far as these edges can move the divisor of a norm. Edges from a
/// node to itself are left out, and differences in the direction of edges shorter than 127 km count in proportion to
/// the length: the original computes directions in single precision, where their rounding grows as 1 / length (in the
/// UK run its own directions are 2e-5 from those of its stored positions).
/// @param prefix  put before the names of the checks, e.g. "variant knn_5: "
void compare_graphs(const graph::Graph& built, const graph::Graph& stored, CaseReport& report,
                    const std::string& prefix = {});

} // namespace gradwind::verify
