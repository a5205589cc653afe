// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/imported_training.h"

#include "gradwind/core/error.h"
#include "gradwind/model/freeze.h"
#include "gradwind/model/several_datasets.h"
#include "gradwind/ops/tensor_io.h"
#include "gradwind/parallel/layout_config.h"
#include "gradwind/train/reference.h"
#include "gradwind/train/step_runner.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <set>

namespace gradwind::train
{

namespace
{

using nlohmann::json;

/// Moments of every parameter that trains; those that had no gradient begin with zeros.
NamedTensors all_moments(const model::ForecastModel& model, const SafetensorsFile& file,
                         std::vector<std::string>& notes)
{
    NamedTensors result;
    std::set<std::string> known;
    std::vector<std::string> faults, without;
    for (const char* kind : {"exp_avg", "exp_avg_sq"})
        for (const auto& parameter : trainable_parameters(model)) {
            const auto name = fmt::format("{}.{}", kind, parameter.name);
            known.insert(name);
            const bool is_there = file.has(name);
            const auto value = is_there ? ops::read_tensor(file, name) : at::zeros(parameter.tensor.sizes());
            if (value.sizes() != parameter.tensor.sizes())
                faults.push_back(fmt::format("{} is [{}], the parameter [{}]", name, fmt::join(value.sizes(), ", "),
                                             fmt::join(parameter.tensor.sizes(), ", ")));
            if (!is_there)
                without.push_back(name);
            result.emplace_back(name, value.to(at::kFloat));
        }
    for (const auto& [name, info] : file.tensors())
        if (!known.contains(name))
            faults.push_back(name + " belongs to no parameter that trains here");
    GRADWIND_CHECK(faults.empty(), CheckpointError, "[import] the optimiser's state does not fit the network: {}",
                   fmt::join(faults, "; "));
    if (!without.empty())
        notes.push_back(fmt::format("{} moments begin with zeros, their parameters had no gradient: {}", without.size(),
                                    fmt::join(without, ", ")));
    return result;
}

/// Where the configuration would have the optimiser otherwise than the checkpoint has it.
void compare_settings(const AdamWOptions& here, const json& there, std::vector<std::string>& notes)
{
    const auto compare = [&](const char* key, const json& value) {
        if (there.contains(key) && there[key] != value)
            notes.push_back(fmt::format("the optimiser of the checkpoint had {} {}, the configuration says {}, which "
                                        "counts from here on",
                                        key, there[key].dump(), value.dump()));
    };
    compare("betas", {here.beta1, here.beta2});
    compare("eps", here.eps);
    compare("weight_decay", here.weight_decay);
}

void compare_rollout(const ForecasterTask& task, const json& description, std::vector<std::string>& notes)
{
    const auto pointer = json::json_pointer("/task_state/rollout/step");
    if (!description.contains(pointer) || !description[pointer].is_number_integer())
        return;
    const auto there = description[pointer].get<int64_t>(), epoch = description.value("epoch", int64_t(0));
    if (there != task.rollout.at(epoch))
        notes.push_back(fmt::format("the training had rollouts of {} steps in epoch {}, by the configuration they have "
                                    "{}; see task.rollout",
                                    there, epoch, task.rollout.at(epoch)));
}

} // namespace

std::shared_ptr<model::ForecastModel> imported_network(const Config& config, const VariableTables& tables,
                                                       const graph::Graph& graph, const SafetensorsFile& weights)
{
    GRADWIND_CHECK(!tables.empty(), DataError, "[import] expected a data set, found none");
    const auto task = ForecasterTask::from_config(config.at("task"));
    // Values that follow from statistics are buffers, which come with the weights.
    std::map<std::string, Statistics> statistics;
    std::vector<model::FurtherDataset> further;
    for (const auto& [name, table] : tables) {
        const std::vector<double> zeros(size_t(table.count())), ones(size_t(table.count()), 1.0);
        statistics[name] = {zeros, ones, zeros, ones};
    }
    for (auto other = std::next(tables.begin()); other != tables.end(); ++other)
        further.push_back({other->first, other->second, &statistics.at(other->first)});
    const auto& [name, table] = *tables.begin();
    const auto network = model::build_model(config.at("model"),
                                            {.graph = graph,
                                             .variables = table,
                                             .statistics = &statistics.at(name),
                                             .n_step_input = task.n_step_input,
                                             .n_step_output = task.n_step_output,
                                             .dataset_name = name},
                                            further);
    model::load_state(*network, ops::read_tensors(weights));
    for (const auto& part : config.get<std::vector<std::string>>("training.submodules_to_freeze", {}))
        model::freeze_part(*network, part);
    return network;
}

ImportedTraining imported_training(const Config& config, const json& description, const model::ForecastModel& model,
                                   const SafetensorsFile& moments)
{
    const auto settings = TrainSettings::from_config(config, {});
    const auto& training = description.at("training");
    ImportedTraining result;
    result.moments = all_moments(model, moments, result.notes);
    compare_settings(settings.optimizer, training.value("optimizer", json::object()), result.notes);
    compare_rollout(settings.task, description, result.notes);
    RunState state;
    state.step = description.at("step").get<int64_t>();
    state.optimizer_steps = training.at("optimizer_steps").get<int64_t>();
    state.reference = reference_of(settings, parallel::Layout(parallel::layout_from(config)));
    state.reference.effective_lr = training.at("effective_lr").get<double>();
    state.samples_seen = state.step * state.reference.effective_batch;
    state.sampler.epoch = training.at("epoch").get<int64_t>();
    state.seed = settings.seed;
    if (const auto seed = training.value("base_seed", json()); seed.is_number_unsigned())
        state.seed = {seed.get<uint64_t>(), "the imported checkpoint"};
    result.state = to_json(state);
    return result;
}

} // namespace gradwind::train
