// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Agreement of all ranks on when to stop or to save by the clock.
#pragma once
#include "gradwind/parallel/group.h"

#include <cstdint>

namespace gradwind::train
{

/// What the ranks agreed on after a step.
struct Poll {
    bool stop = false;
    double elapsed_s = 0; ///< the largest of any rank
};

/// Asks the other ranks often enough to react within about half a second, and no more often: which steps ask follows
/// from agreed numbers alone.
class StopPoll
{
public:
    explicit StopPoll(parallel::Group world) : world_(std::move(world)) {}
    /// @collective all ranks, after every step
    [[nodiscard]] Poll after_step(bool stop_here, double elapsed_s);

private:
    parallel::Group world_;
    Poll last_;
    int64_t n_steps_ = 0;
    int64_t next_ = 1;
    int64_t last_polled_ = 0;
};

} // namespace gradwind::train
