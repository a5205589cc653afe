// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Training that begins with the weights of another, or with all of its state: fine-tuning, transfer learning, forks,
// models from Anemoi (spec §13.4).
#pragma once
#include "gradwind/train/job.h"

#include <nlohmann/json_fwd.hpp>

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace gradwind::train
{

/// What a configuration says about its first weights: `system.input.warm_start` or `training.fork_run_id`.
struct WarmStart {
    std::filesystem::path from; ///< run folder, checkpoint folder or file of weights
    /// Weights alone (`training.load_weights_only`), or optimiser, schedule and samples too: a fork of the run.
    enum class Take { Weights, Everything } take = Take::Weights;
    /// Whether weights of other shapes and other variables are passed over (`training.transfer_learning`).
    enum class Fit { Exact, WhatFits } fit = Fit::Exact;
    /// Whose normalisation counts (`training.update_ds_stats_on_ckpt_load.states`).
    enum class Normalisation { Checkpoint, Dataset } normalisation = Normalisation::Checkpoint;

    /// Nothing where neither key is set. A run to fork from is a path, or a name below `system.output.root`.
    /// @throws ConfigError for keys that do not go together, naming what would work
    [[nodiscard]] static std::optional<WarmStart> from_config(const Config& config);
    /// The graph that the weights belong to, if their run folder keeps one: rows of trainable tensors follow its order.
    [[nodiscard]] std::optional<std::filesystem::path> graph() const;
};

/// Copies weights and normalisation into a job that has not begun; optimiser, schedule and samples begin anew. For
/// Take::Weights.
/// @param notes  what was taken and what was passed over, for the log
/// @throws CheckpointError naming every weight and variable that differs
void begin_from(const WarmStart& start, Job& job, std::vector<std::string>& notes);

/// The normalisation that belongs to weights, as checkpoints keep it: {data set: {step: {buffer: [numbers]}}}.
[[nodiscard]] nlohmann::json processor_state(std::span<const ModelDataset> datasets);
/// The same of one data set; empty where there is nothing for it. Checkpoints of earlier versions, of one data set,
/// do not name it.
[[nodiscard]] nlohmann::json processor_state_of(const nlohmann::json& state, const std::string& dataset);
/// Takes over the normalisation that a checkpoint's state.json holds; checkpoints of earlier versions hold none.
/// @throws CheckpointError naming what is missing or has another length; nothing is changed then
void load_processors(const nlohmann::json& state, std::span<const ModelDataset> datasets, const std::string& where);

/// Whether a checkpoint's state.json was made with these data sets, their variables in this order and these roles.
/// @throws CheckpointError naming every variable that differs
void check_variables(const nlohmann::json& state, std::span<const ModelDataset> datasets, const std::string& where);

} // namespace gradwind::train
