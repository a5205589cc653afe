// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What some steps did when, on all ranks, as a Chrome trace (chrome://tracing, Perfetto).
#pragma once
#include "gradwind/parallel/gradient_engine.h"
#include "gradwind/train/settings.h"
#include "gradwind/train/step_clock.h"

#include <cstdint>
#include <string>

namespace gradwind::train
{

struct StepOutcome;

/// Collects the phases of steps, the buckets of gradients and the reading of batches.
///
/// Costs a comparison a step outside the chosen ones. The chosen steps wait for the device at their begin and end, and
/// a thread looks every few microseconds whether the next bucket is summed.
class Timeline
{
public:
    Timeline(parallel::Group world, at::Device device, const TimelineSettings& settings);

    /// Before each step. @collective in the first of the chosen steps: a barrier, from which all ranks count
    void begin(StepClock& clock, parallel::GradientEngine& engine);
    /// After each step. @return whether this was the last of the chosen ones
    bool end(StepClock& clock, parallel::GradientEngine& engine, const StepOutcome& outcome);
    /// Whether steps were seen, but fewer than chosen.
    [[nodiscard]] bool is_begun() const
    {
        return step_ > settings_.first_step && step_ < settings_.first_step + settings_.steps;
    }
    /// The trace of all ranks as JSON text, on rank 0; empty on the others. @collective
    [[nodiscard]] std::string trace() const;

private:
    enum class Track { Host, Device, Buckets, Loader };
    using Clock = StepClock::Clock;

    [[nodiscard]] bool is_chosen() const
    {
        return step_ >= settings_.first_step && step_ < settings_.first_step + settings_.steps;
    }
    [[nodiscard]] double since_origin(Clock::time_point time) const;
    void add(const std::string& name, Track track, double begin_s, double end_s);
    void add_overlapping(const std::string& name, Track track, double begin_s, double end_s,
                         const std::string& arguments);
    void add_buckets(const parallel::BucketReport& report, double device_backward_s);
    [[nodiscard]] std::string names() const;

    const parallel::Group world_;
    const at::Device device_;
    const TimelineSettings settings_;
    int64_t step_ = 0; ///< since the process began
    Clock::time_point origin_{};
    std::string events_; ///< JSON objects, each with a comma behind it
};

} // namespace gradwind::train
