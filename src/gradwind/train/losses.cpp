// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/losses.h"

#include "gradwind/core/datetime.h"
#include "gradwind/data/dataset.h"
#include "gradwind/loss/variable_groups.h"

#include <ATen/ATen.h>

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

} // namespace

Losses make_losses(const Config& config, const TrainSettings& settings, const data::Dataset& training,
                   const VariableTable& variables, const Statistics& statistics, const graph::Graph& graph)
{
    const auto& name = settings.dataset_name;
    const auto root = config.at("training");
    const loss::LossInputs inputs{
        .variables = variables,
        .statistics = statistics,
        .tendencies = tendencies(training, settings.task),
        .variables_metadata = training.variables_metadata(),
        .node_attribute = [&](const std::string& attribute) { return node_attribute(graph.node_set(name), attribute); },
        .n_step_output = settings.task.n_step_output};
    const auto section = [&](const char* key) { return loss::dataset_section(root.at(key), name); };
    const auto scalers = section("scalers"), groups = section("variable_groups");
    Losses result;
    result.loss = loss::build_loss(section("training_loss"), scalers, groups, inputs);
    if (const auto metrics = root.find("validation_metrics"); metrics && metrics->is_map())
        result.metrics = loss::build_metrics(loss::dataset_section(*metrics, name), scalers, groups, inputs);
    result.ranges = loss::metric_ranges(loss::VariableGroups(groups, inputs.variables_metadata),
                                        variables.output_names(), listed_variables(root, name));
    return result;
}

} // namespace gradwind::train
