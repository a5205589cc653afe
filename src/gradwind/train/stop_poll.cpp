// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/stop_poll.h"

#include <algorithm>
#include <array>

namespace gradwind::train
{

namespace
{

constexpr double kReactionTime_s = 0.5;
constexpr int64_t kMostStepsBetween = 100;

} // namespace

Poll StopPoll::after_step(bool stop_here, double elapsed_s)
{
    ++n_steps_;
    if (world_.size() == 1)
        return {stop_here, elapsed_s};
    if (n_steps_ < next_)
        return {false, last_.elapsed_s};
    const auto agreed = world_.max(std::array{stop_here ? 1.0 : 0.0, elapsed_s});
    const double seconds_per_step = std::max(1e-6, agreed[1] - last_.elapsed_s) / double(n_steps_ - last_polled_);
    last_ = {agreed[0] > 0, agreed[1]};
    last_polled_ = n_steps_;
    next_ = n_steps_ + std::clamp<int64_t>(int64_t(kReactionTime_s / seconds_per_step), 1, kMostStepsBetween);
    return last_;
}

} // namespace gradwind::train
