// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// A job without its processes: what predictions look at.
#pragma once
#include "gradwind/data/dataset.h"
#include "gradwind/graph/graph.h"
#include "gradwind/model/model.h"
#include "gradwind/train/settings.h"

#include <memory>
#include <string>

namespace gradwind::train
{

struct JobOutline {
    Config config;
    TrainSettings settings;
    std::shared_ptr<const data::Dataset> training, validation; ///< validation is null where there is none
    VariableTable variables;
    Statistics statistics;
    graph::Graph graph;
    std::shared_ptr<model::ForecastModel> model; ///< whole, in the precision of the job
};

/// Opens the data, obtains the graph and builds the model in this process alone.
/// @throws ConfigError, DataError where one of them cannot be had
[[nodiscard]] JobOutline outline_job(const Config& config);

/// Whether a configuration has data to validate with.
[[nodiscard]] bool has_validation(const Config& config, const std::string& dataset_name);

} // namespace gradwind::train
