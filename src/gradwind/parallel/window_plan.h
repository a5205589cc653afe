// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Attention between rows whose numbers are at most a window apart: what a rank needs of its neighbours. No
// communication, no torch.
#pragma once
#include "gradwind/parallel/exchange_plan.h"

namespace gradwind::parallel
{

/// What one rank's destinations see: destination i sees the sources from i - window to i + window.
struct WindowPlan {
    ExchangePlan exchange;      ///< `src`: the sources that are seen, in their global order; there are no edges
    int64_t query_position = 0; ///< where the first destination lies among them
};

/// Several neighbours send where the window is wider than their shards; whoever owns the sources, only those that are
/// seen travel.
/// @param window  at least 0
/// @throws ConfigError if the destinations of a rank are not consecutive
[[nodiscard]] WindowPlan make_window_plan(const Partition& sources, const Partition& destinations, int64_t window,
                                          int rank);

/// What that costs; `n_edges` are the pairs that see each other.
[[nodiscard]] HaloCount count_window_halo(const Partition& sources, const Partition& destinations, int64_t window);

/// Whether every rank's rows are consecutive, so that attention can be shared by windows.
[[nodiscard]] bool has_ranges(const Partition& partition);

} // namespace gradwind::parallel
