// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// How much a run communicates, by group and verb, in its steps and besides.
#pragma once
#include "gradwind/parallel/world.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace gradwind::train
{

/// What this rank handed to one kind of collective of one group. Bytes as in parallel::Traffic.
struct CommTotal {
    std::string group;
    parallel::Verb verb = parallel::Verb::AllReduce;
    int64_t step_calls = 0, step_bytes = 0;   ///< from the first forward pass to the update, over all steps
    int64_t other_calls = 0, other_bytes = 0; ///< setup, log, stop polls, validation, checkpoints
    double step_exposed_s =
        0; ///< held up in steps, on the host; 0 for the world, whose gradients have their own account
};

/// The communication of one run on one rank.
struct CommTotals {
    int64_t steps = 0;
    std::vector<CommTotal> rows; ///< only what was called, groups of one process left out
};

/// Splits what the groups count into what belongs to steps and what does not. Reads counters, sends nothing.
class CommAccount
{
public:
    explicit CommAccount(const parallel::Groups& groups);
    void begin_step();
    void end_step();
    /// `comm/<group>/<verb>_calls` and `_bytes`, for groups other than the world `_exposed_s`, means of the steps since
    /// the last call.
    [[nodiscard]] std::vector<std::pair<std::string, double>> take_means();
    [[nodiscard]] CommTotals totals() const;

private:
    struct Meter {
        parallel::Group group;
        parallel::Traffic start;    ///< at begin_step()
        parallel::Traffic in_steps; ///< since the run began
        parallel::Traffic reported; ///< of in_steps
    };
    std::vector<Meter> meters_;
    int64_t steps_ = 0, reported_steps_ = 0;
};

} // namespace gradwind::train
