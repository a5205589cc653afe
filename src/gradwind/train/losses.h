// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The loss of a training and the metrics of its validations, from a configuration.
#pragma once
#include "gradwind/graph/graph.h"
#include "gradwind/loss/metrics.h"
#include "gradwind/train/settings.h"

#include <memory>
#include <vector>

namespace gradwind::data
{
class Dataset;
}

namespace gradwind::train
{

struct Losses {
    std::unique_ptr<loss::Loss> loss;
    std::vector<loss::ValidationMetric> metrics;
    std::vector<loss::MetricRange> ranges; ///< that metrics are averaged over
};

/// @param statistics  of the training data, as the normaliser left them
/// @param graph       with the weights of the data nodes
/// @throws ConfigError as build_loss and build_metrics
[[nodiscard]] Losses make_losses(const Config& config, const TrainSettings& settings, const data::Dataset& training,
                                 const VariableTable& variables, const Statistics& statistics,
                                 const graph::Graph& graph);

} // namespace gradwind::train
