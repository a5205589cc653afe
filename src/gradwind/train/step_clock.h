// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// When the phases of a step ended, on the host and on the device.
#pragma once
#include "gradwind/parallel/lane.h"

#include <chrono>
#include <memory>
#include <vector>

namespace gradwind::train
{

enum class StepPhase { Read, Prepare, Forward, Backward, Exchange, Update };
[[nodiscard]] const char* name_of(StepPhase phase);

/// Seconds since the clock was started.
struct PhaseSpan {
    StepPhase phase = StepPhase::Read;
    double begin_s = 0, end_s = 0;               ///< when the host did it
    double device_begin_s = 0, device_end_s = 0; ///< when the device did it; on a CPU the same
};

/// Costs a branch a phase as long as it does not run.
class StepClock
{
public:
    using Clock = std::chrono::steady_clock;

    explicit StepClock(at::Device device) : device_(device) {}
    /// Begins a step that is to be seen. Waits for the device, so that both clocks begin together.
    void start();
    /// A phase begins where the one before it ended.
    void ended(StepPhase phase)
    {
        if (running_)
            note(phase);
    }
    /// Ends the step, waiting for the device.
    [[nodiscard]] std::vector<PhaseSpan> stop();
    [[nodiscard]] Clock::time_point started() const { return start_; }

private:
    void note(StepPhase phase);

    const at::Device device_;
    bool running_ = false;
    Clock::time_point start_{};
    std::vector<PhaseSpan> spans_;
    std::unique_ptr<parallel::detail::Stopwatch> stopwatch_; ///< made when it is first needed
};

} // namespace gradwind::train
