// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Everything besides weights and moments that a run needs to go on exactly: `state.json` of a checkpoint.
#pragma once
#include "gradwind/train/sampler.h"
#include "gradwind/train/settings.h"

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace gradwind::train
{

/// What belongs to the configuration under the law of layouts and therefore does not change with the layout.
struct Reference {
    double effective_lr = 0;
    int64_t effective_batch = 0;
    int64_t effective_validation_batch = 0;
    int64_t n_replicas = 1; ///< of the layout that the two were derived for
};

struct RunState {
    int64_t step = 0;            ///< optimiser steps done, those that were skipped included
    int64_t optimizer_steps = 0; ///< steps that changed the weights
    int64_t samples_seen = 0;
    double wall_s = 0;
    double epoch_loss_sum = 0; ///< of the steps done in this epoch: global loss x samples
    int64_t epoch_samples = 0;
    int64_t metrics_bytes = 0;
    SamplerState sampler;
    BaseSeed seed;
    Reference reference;
};

[[nodiscard]] nlohmann::json to_json(const RunState& state);
/// @throws CheckpointError naming what is missing or of a newer format
[[nodiscard]] RunState run_state_from_json(const nlohmann::json& json, const std::string& where);

/// The parts of a configuration that weights depend on: model, task, variables and their processing.
/// @param variables  by data set
[[nodiscard]] nlohmann::json fingerprint(const Config& config,
                                         const std::map<std::string, std::vector<std::string>>& variables);
/// The fingerprint that a checkpoint's state.json holds; those of earlier versions list the variables of one data set
/// without its name. Empty where there is none.
[[nodiscard]] nlohmann::json fingerprint_of(const nlohmann::json& state);
/// @throws CheckpointError naming every difference
void check_fingerprint(const nlohmann::json& then, const nlohmann::json& now, const std::string& where);

} // namespace gradwind::train
