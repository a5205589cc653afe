// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The losses of a training and the metrics of its validations, from a configuration.
#pragma once
#include "gradwind/graph/graph.h"
#include "gradwind/loss/metrics.h"
#include "gradwind/train/setup.h"
#include "gradwind/train/stage.h"

#include <memory>
#include <span>
#include <string>
#include <vector>

namespace gradwind::train
{

/// What forecasts of one data set are measured by.
struct Losses {
    std::unique_ptr<loss::Loss> loss; ///< null: the model reads this data set only
    std::vector<loss::ValidationMetric> metrics;
    std::vector<loss::MetricRange> ranges; ///< that metrics are averaged over
};

/// Names of the data sets with a loss: those below `training.training_loss.datasets`; one data set may do without
/// names.
/// @throws ConfigError for a name that is no data set, where a data set has no loss; for a loss without a decoder and
/// the other way round; for a rollout over several steps of what is not predicted
[[nodiscard]] std::vector<std::string> measured_datasets(const Config& config, const TrainSettings& settings);

/// The losses of every data set, in their order.
/// @param training  whose tendencies count
/// @param graph     with the weights of the data nodes
/// @throws ConfigError as measured_datasets, build_loss and build_metrics
[[nodiscard]] std::vector<Losses> make_losses(const Config& config, const TrainSettings& settings,
                                              const Stage& training, std::span<const ModelDataset> datasets,
                                              const graph::Graph& graph);

} // namespace gradwind::train
