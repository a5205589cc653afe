// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The forecasting task: which dates a sample spans, and which of them are input and target.
#pragma once
#include "gradwind/core/config.h"
#include "gradwind/train/schedule.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace gradwind::train
{

/// `task` of a configuration. A sample's time axis holds the inputs, then the outputs of every rollout step.
/// @source spec §9
struct ForecasterTask {
    int64_t n_step_input = 2;
    int64_t n_step_output = 1;
    int64_t timestep_s = 6 * 3600;
    RolloutSchedule rollout;
    std::optional<int64_t> validation_rollout; ///< absent: the training rollout of the epoch

    /// Dates of a sample relative to its anchor (the newest input), seconds, ascending.
    [[nodiscard]] std::vector<int64_t> offsets_s(int64_t n_rollout) const;
    /// The same in steps of a data set. @throws ConfigError unless the timestep is a multiple of its frequency
    [[nodiscard]] std::vector<int64_t> relative_indices(int64_t frequency_s, int64_t n_rollout) const;
    /// First position on the time axis of the targets of a rollout step.
    [[nodiscard]] int64_t first_output(int64_t rollout_step) const
    {
        return n_step_input + rollout_step * n_step_output;
    }

    /// @throws ConfigError for a task other than Forecaster or values out of range
    [[nodiscard]] static ForecasterTask from_config(const Config& task);
};

} // namespace gradwind::train
