// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What losses hand to collectives where several processes hold the fields, counted before there are any.
#pragma once
#include "gradwind/loss/loss.h"

namespace gradwind::loss
{

/// The fields of one sample as one process holds them.
struct HeldFields {
    int64_t steps = 1;      ///< of the output
    int64_t points = 0;     ///< of this process
    int64_t all_points = 0; ///< of all that share the grid with it
    int64_t outputs = 0;    ///< columns of the prediction
    int64_t variables = 0;  ///< columns of the target
    int64_t members = 1;    ///< of this process
    int grid_size = 1;      ///< processes that share the grid: LossContext::share
    int members_size = 1;   ///< processes with other members of the same points: LossContext::members
    int members_rank = 0;   ///< of this one among them
};

/// Values that one process hands to collectives for one sample.
struct LossExchanges {
    int64_t gathered = 0;         ///< all-gathers of those that share the grid, in forward
    int64_t scattered = 0;        ///< reduce-scatters of the same, in backward
    int64_t members_forward = 0;  ///< all-to-alls of those with other members
    int64_t members_backward = 0; ///< the same
};

/// One evaluation, and its backward. No mask of imputed values and no external weights are counted.
[[nodiscard]] LossExchanges count_exchanges(const Loss& loss, const HeldFields& fields);

} // namespace gradwind::loss
