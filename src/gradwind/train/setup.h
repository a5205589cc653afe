// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// From a configuration to the objects that training and forecasting work with.
#pragma once
#include "gradwind/core/variables.h"
#include "gradwind/data/dataset.h"
#include "gradwind/graph/graph.h"
#include "gradwind/model/processors.h"
#include "gradwind/model/several_datasets.h"
#include "gradwind/parallel/launch.h"
#include "gradwind/parallel/layout.h"
#include "gradwind/parallel/sharding.h"
#include "gradwind/train/progress.h"
#include "gradwind/train/settings.h"

#include <ATen/core/Tensor.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace gradwind::train
{

/// Roles of the variables from `data.datasets.<name>.{forcing, diagnostic, target}`. @throws ConfigError
[[nodiscard]] VariableTable variable_table(const Config& config, const std::string& dataset_name,
                                           const data::Dataset& dataset);

/// A data set as a model sees it: its variables, and what is done to their values before and after.
struct ModelDataset {
    std::string name;
    VariableTable variables;
    Statistics statistics; ///< of the training data, as the normaliser left them
    model::Processors processors;
};

/// From `data.datasets.<name>`. @param training  whose variables and statistics count
/// @throws ConfigError, DataError as variable_table and build_processors
[[nodiscard]] ModelDataset model_dataset(const Config& config, const std::string& name, const data::Dataset& training);

/// The same as references, for make_model.
[[nodiscard]] std::vector<model::FurtherDataset> for_model(std::span<const ModelDataset> datasets);

/// The graph of a configuration: the file `system.input.graph` if it is there and `graph.overwrite` is false, else
/// built (through the cache) and, where that key is set, written to it.
/// @param notes  what was done, for the log
[[nodiscard]] graph::Graph obtain_graph(const Config& config, std::vector<std::string>& notes);

/// Where `system.hardware.accelerator` puts tensors of this process. @throws ConfigError if there is no such device
[[nodiscard]] at::Device choose_device(const Config& config, int local_rank);

/// The layout of a job: processes as they were launched, groups as configured.
/// @throws ConfigError if the configuration wants several processes and this is one that nobody launched
[[nodiscard]] parallel::Layout choose_layout(const Config& config, const parallel::Environment& environment,
                                             std::vector<std::string>& notes);

/// Whether steps are recorded and started again: `training.strategy.cuda_graphs`, which CPUs do not look at.
[[nodiscard]] bool records_steps(const Config& config, at::Device device);

/// How long a collective may take: `training.strategy.timeout_s`.
[[nodiscard]] std::chrono::milliseconds timeout_of(const Config& config);
/// How long ranks wait for each other where one may take much longer than a collective: three times as long.
[[nodiscard]] std::chrono::milliseconds patience_of(const Config& config);

/// How `training.strategy.partition` wants nodes cut over a model group: ranges in the order of the nodes, patches, or
/// `auto`: what leaves the largest halo of the processor smaller.
[[nodiscard]] parallel::PartitionKind partition_kind(const Config& config, const graph::Graph& graph, int n_parts);

/// Partitions of hidden and data nodes by name. @throws ConfigError if there are more parts than nodes
[[nodiscard]] std::map<std::string, parallel::Partition> cut_nodes(const Config& config, const graph::Graph& graph,
                                                                   std::span<const std::string> dataset_names,
                                                                   parallel::PartitionKind kind, int n_parts);

/// How the nodes of a model lie over its group. @throws ConfigError as cut_nodes
[[nodiscard]] parallel::Sharding share_nodes(const Config& config, const graph::Graph& graph,
                                             std::span<const std::string> dataset_names, const parallel::Group& group);

/// The model with its initial weights for a base seed, float32 on the CPU.
/// @param datasets  all of them, at least one, with statistics
[[nodiscard]] std::shared_ptr<model::SeveralDatasetsModel>
make_model(const Config& config, const TrainSettings& settings, const graph::Graph& graph,
           const std::vector<model::FurtherDataset>& datasets, const parallel::Sharding& sharding = {});

/// Parameters and buffers by name, as they are stored.
[[nodiscard]] NamedTensors state_of(const model::ForecastModel& model);

[[nodiscard]] at::ScalarType dtype_of(Precision precision);

} // namespace gradwind::train
