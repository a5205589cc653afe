// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What an import makes of a checkpoint's network and of what its training would have gone on with.
#pragma once
#include "gradwind/core/config.h"
#include "gradwind/core/variables.h"
#include "gradwind/graph/graph.h"
#include "gradwind/model/model.h"
#include "gradwind/train/checkpoint.h"

#include <nlohmann/json.hpp>

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace gradwind::train
{

/// The variables of every data set, by its name.
using VariableTables = std::map<std::string, VariableTable>;

/// The network that a configuration describes, of one data set or of several, with these weights; frozen parts frozen.
/// @throws Error that says why it cannot run here
[[nodiscard]] std::shared_ptr<model::ForecastModel> imported_network(const Config& config, const VariableTables& tables,
                                                                     const graph::Graph& graph,
                                                                     const SafetensorsFile& weights);

/// Where a training that began elsewhere goes on.
struct ImportedTraining {
    NamedTensors moments; ///< one pair for each parameter that trains, in the names of AdamW::state()
    nlohmann::json state; ///< a RunState
    std::vector<std::string> notes;
};

/// Reads the `training` section of an exchange folder's description: position of optimiser, schedule and epoch. The
/// effective batch is that of the layout that the configuration asks for; the epoch begins with its first sample.
/// @param moments  `exp_avg.<parameter>`, `exp_avg_sq.<parameter>`; parameters without any never had a gradient
/// @throws Error that says why the training cannot go on here
[[nodiscard]] ImportedTraining imported_training(const Config& config, const nlohmann::json& description,
                                                 const model::ForecastModel& model, const SafetensorsFile& moments);

} // namespace gradwind::train
