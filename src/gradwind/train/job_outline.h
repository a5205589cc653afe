// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// A job without its processes: what predictions look at.
#pragma once
#include "gradwind/graph/graph.h"
#include "gradwind/train/setup.h"
#include "gradwind/train/stage.h"

#include <memory>
#include <optional>
#include <vector>

namespace gradwind::train
{

struct JobOutline {
    Config config;
    TrainSettings settings;
    Stage training;
    std::optional<Stage> validation;    ///< nothing where there is none
    std::vector<ModelDataset> datasets; ///< in the order of the stages
    graph::Graph graph;
    std::shared_ptr<model::SeveralDatasetsModel> model; ///< whole, in the precision of the job
};

/// Opens the data, obtains the graph and builds the model in this process alone.
/// @throws ConfigError, DataError where one of them cannot be had
[[nodiscard]] JobOutline outline_job(const Config& config);

} // namespace gradwind::train
