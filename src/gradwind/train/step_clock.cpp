// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/step_clock.h"

#include <torch/cuda.h>

namespace gradwind::train
{

const char* name_of(StepPhase phase)
{
    static constexpr const char* names[] = {"read", "prepare", "forward", "backward", "exchange", "update"};
    return names[static_cast<size_t>(phase)];
}

void StepClock::start()
{
    if (!stopwatch_)
        stopwatch_ = parallel::detail::make_stopwatch(device_);
    if (device_.is_cuda())
        torch::cuda::synchronize(device_.index());
    spans_.clear();
    start_ = Clock::now();
    stopwatch_->note(0);
    running_ = true;
}

void StepClock::note(StepPhase phase)
{
    const double begin = spans_.empty() ? 0 : spans_.back().end_s;
    spans_.push_back(
        {.phase = phase, .begin_s = begin, .end_s = std::chrono::duration<double>(Clock::now() - start_).count()});
    stopwatch_->note(spans_.size());
}

std::vector<PhaseSpan> StepClock::stop()
{
    running_ = false;
    double begin = 0;
    for (size_t i = 0; i < spans_.size(); ++i) {
        spans_[i].device_begin_s = begin;
        begin = spans_[i].device_end_s = stopwatch_->seconds(0, i + 1);
    }
    return std::move(spans_);
}

} // namespace gradwind::train
