// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/losses.h"

#include "gradwind/core/datetime.h"
#include "gradwind/core/error.h"
#include "gradwind/core/text.h"
#include "gradwind/loss/variable_groups.h"
#include "gradwind/model/options.h"
#include "gradwind/train/output_mask.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace gradwind::train
{

namespace
{

/// An attribute of the data nodes as the loss wants it: [N, columns], undefined where there is none.
at::Tensor node_attribute(const graph::NodeSet& nodes, const std::string& name)
{
    const auto found = nodes.attributes.find(name);
    if (found == nodes.attributes.end())
        return {};
    const auto& attribute = found->second;
    return at::tensor(attribute.values).reshape({attribute.n_rows, attribute.n_cols});
}

/// Statistics of tendencies over every output step that the store has them for, nearest first.
std::vector<std::pair<std::string, Statistics>> tendencies(const data::Dataset& dataset, const ForecasterTask& task)
{
    std::vector<std::pair<std::string, Statistics>> result;
    for (int64_t i = 1; i <= task.n_step_output; ++i)
        if (const auto found = dataset.statistics_tendencies(i * task.timestep_s))
            result.emplace_back(frequency_to_string(i * task.timestep_s), *found);
    return result;
}

/// Variables of `training.metrics`, which get a range of their own.
std::vector<std::string> listed_variables(const Config& training, const std::string& dataset_name)
{
    const auto section = training.find("metrics");
    if (!section || section->is_null())
        return {};
    const auto names = section->is_map() ? loss::dataset_section(*section, dataset_name) : *section;
    return names.as<std::vector<std::string>>();
}

/// The names below `training.training_loss.datasets` that are data sets with a loss.
std::vector<std::string> datasets_with_loss(const Config& config)
{
    const auto names = config.at("data.datasets").keys();
    const auto section = config.at("training.training_loss");
    const auto by_dataset = section.find("datasets");
    if (names.size() == 1 && (!by_dataset || by_dataset->is_null()))
        return names;
    const auto losses = section.at("datasets");
    std::vector<std::string> measured;
    for (const auto& name : names)
        if (losses.has(name))
            measured.push_back(name);
    for (const auto& name : losses.keys())
        GRADWIND_CHECK(measured.size() == names.size() || losses.find(name)->is_null() ||
                           std::find(names.begin(), names.end(), name) != names.end(),
                       ConfigError, "[train] {}: there is no such data set{}; data.datasets has {}",
                       losses.at(name).where(), did_you_mean(name, names), fmt::join(names, ", "));
    GRADWIND_CHECK(!measured.empty(), ConfigError,
                   "[train] expected a loss for at least one data set in {}, found none", losses.where());
    return measured;
}

/// What is measured must be what the model predicts, and a rollout feeds back what it predicts.
void require_agreement(const Config& config, const TrainSettings& settings, const std::vector<std::string>& measured)
{
    const auto& names = settings.dataset_names;
    std::vector<std::string> predicted;
    for (const auto& decoder : model::find_mappers(config.at("model"), "decoders", names))
        predicted.insert(predicted.end(), decoder.datasets.begin(), decoder.datasets.end());
    const auto has = [](const std::vector<std::string>& list, const std::string& name) {
        return std::find(list.begin(), list.end(), name) != list.end();
    };
    const auto& rollout = settings.task.rollout;
    const bool has_rollout = rollout.start > 1 || (rollout.epoch_increment > 0 && rollout.maximum > 1) ||
                             settings.task.validation_rollout.value_or(1) > 1;
    for (const auto& name : names) {
        const auto key = fmt::format("training.training_loss.datasets.{}", name);
        GRADWIND_CHECK(has(predicted, name) || !has(measured, name), ConfigError,
                       "[train] key `{}`: no decoder of the model predicts this data set; take the loss out, or list "
                       "it in model.decoders.<name>.target_datasets",
                       key);
        GRADWIND_CHECK(has(measured, name) || !has(predicted, name), ConfigError,
                       "[train] the model predicts the data set `{}`, but there is no `{}`: its decoder would not be "
                       "trained; add the loss, or take the decoder out",
                       name, key);
        GRADWIND_CHECK(has(predicted, name) || !has_rollout, ConfigError,
                       "[train] {}: a rollout of more than one step needs predictions of every data set, but no "
                       "decoder predicts `{}`; use one step, or add a decoder",
                       config.at("task").where(), name);
    }
}

Losses make_losses(const Config& root, const ForecasterTask& task, const data::Dataset& training,
                   const ModelDataset& dataset, const graph::NodeSet& nodes, const at::Tensor& inside)
{
    const loss::LossInputs inputs{
        .variables = dataset.variables,
        .statistics = dataset.statistics,
        .tendencies = tendencies(training, task),
        .variables_metadata = training.variables_metadata(),
        .node_attribute = [&](const std::string& attribute) { return node_attribute(nodes, attribute); },
        .n_step_output = task.n_step_output,
        .output_mask = inside};
    const auto section = [&](const char* key) { return loss::dataset_section(root.at(key), dataset.name); };
    const auto scalers = section("scalers"), groups = section("variable_groups");
    Losses result;
    result.loss = loss::build_loss(section("training_loss"), scalers, groups, inputs);
    if (const auto metrics = root.find("validation_metrics"); metrics && metrics->is_map())
        result.metrics = loss::build_metrics(loss::dataset_section(*metrics, dataset.name), scalers, groups, inputs);
    result.ranges = loss::metric_ranges(loss::VariableGroups(groups, inputs.variables_metadata),
                                        dataset.variables.output_names(), listed_variables(root, dataset.name));
    return result;
}

} // namespace

std::vector<std::string> measured_datasets(const Config& config, const TrainSettings& settings)
{
    auto measured = datasets_with_loss(config);
    require_agreement(config, settings, measured);
    return measured;
}

std::vector<Losses> make_losses(const Config& config, const TrainSettings& settings, const Stage& training,
                                std::span<const ModelDataset> datasets, const graph::Graph& graph)
{
    const auto measured = measured_datasets(config, settings);
    std::vector<Losses> result(datasets.size());
    for (size_t i = 0; i < datasets.size(); ++i)
        if (const auto& name = datasets[i].name; std::find(measured.begin(), measured.end(), name) != measured.end())
            result[i] = make_losses(config.at("training"), settings.task, *training.parts()[i].dataset, datasets[i],
                                    graph.node_set(name), output_mask(config.at("model"), graph, name));
    return result;
}

} // namespace gradwind::train
