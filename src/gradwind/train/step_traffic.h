// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What an optimiser step will send, before a job is started.
#pragma once
#include "gradwind/core/config.h"

#include <cstdint>

namespace gradwind::train
{

/// What every rank hands to the world's all-reduce in one optimiser step, once the order of gradients is known.
struct StepTraffic {
    int64_t parameters = 0;
    int64_t gradient_bytes = 0; ///< with the gaps between tensors, which travel along
    int64_t gradient_calls = 0; ///< buckets
};

/// Builds the model of a configuration, in this process alone, and asks the gradient engine.
/// @throws ConfigError, DataError where data set, graph or model cannot be had
[[nodiscard]] StepTraffic predict_step_traffic(const Config& config);

} // namespace gradwind::train
