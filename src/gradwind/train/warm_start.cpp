// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/warm_start.h"

#include "gradwind/core/error.h"
#include "gradwind/model/processor_buffers.h"
#include "gradwind/ops/tensor_io.h"
#include "gradwind/train/checkpoint.h"
#include "gradwind/train/run_config.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace gradwind::train
{

namespace fs = std::filesystem;

namespace
{

constexpr const char* kKey = "system.input.warm_start";
constexpr const char* kFork = "training.fork_run_id";

/// Copies the tensors that fit and says which did not.
void load_what_fits(const SafetensorsFile& file, const NamedTensors& destinations, std::vector<std::string>& notes)
{
    const at::NoGradGuard no_grad;
    std::vector<std::string> left;
    for (const auto& [name, tensor] : destinations) {
        if (!file.has(name)) {
            left.push_back(fmt::format("{} (not there)", name));
            continue;
        }
        const auto stored = ops::read_tensor(file, name);
        if (stored.sizes() != tensor.sizes() && !(stored.numel() == 1 && tensor.numel() == 1))
            left.push_back(fmt::format("{} ({} there, {} here)", name, fmt::join(stored.sizes().vec(), "x"),
                                       fmt::join(tensor.sizes().vec(), "x")));
        else
            tensor.copy_(stored.reshape(tensor.sizes()));
    }
    GRADWIND_CHECK(left.size() < destinations.size(), CheckpointError,
                   "[warm start] {} has no tensor that fits this model", file.path().string());
    if (!left.empty())
        notes.push_back(fmt::format("transfer learning: {} of {} tensors keep their initial values: {}", left.size(),
                                    destinations.size(), fmt::join(left, ", ")));
}

} // namespace

std::optional<WarmStart> WarmStart::from_config(const Config& config)
{
    const auto is_on = [&](const char* key) { return config.get<bool>(key, false); };
    const auto is_named = [&](const char* key) { return !config.get<std::string>(key, "").empty(); };
    const bool weights_only = is_on("training.load_weights_only"), transfer = is_on("training.transfer_learning");
    const bool starts = is_named(kKey), forks = is_named(kFork);
    GRADWIND_CHECK(!transfer || weights_only, ConfigError, "[train] {} needs training.load_weights_only=true and {}",
                   config.at("training.transfer_learning").where(), kKey);
    GRADWIND_CHECK(!weights_only || starts || forks, ConfigError,
                   "[train] {}: expected {} or {} to name what the weights are loaded from, found neither",
                   config.at("training.load_weights_only").where(), kKey, kFork);
    if (!starts && !forks)
        return std::nullopt;
    GRADWIND_CHECK(!starts || !forks, ConfigError,
                   "[train] {} and {} both name what the run begins with; keep one of them", config.at(kKey).where(),
                   config.at(kFork).where());
    WarmStart result;
    result.from = config.get<std::string>(starts ? kKey : kFork);
    if (const auto run = fs::path(config.get<std::string>("system.output.root", "runs")) / result.from;
        forks && !fs::exists(result.from) && fs::exists(run))
        result.from = run;
    result.take = weights_only ? WarmStart::Take::Weights : WarmStart::Take::Everything;
    result.fit = transfer ? Fit::WhatFits : Fit::Exact;
    if (is_on("training.update_ds_stats_on_ckpt_load.states"))
        result.normalisation = Normalisation::Dataset;
    GRADWIND_CHECK(result.from.extension() != ".ckpt", ConfigError,
                   "[train] {}: expected a folder, found a checkpoint of anemoi-training; turn it into one with "
                   "`gradwind import --anemoi {} --output DIR`",
                   config.at(starts ? kKey : kFork).where(), result.from.string());
    return result;
}

std::optional<fs::path> WarmStart::graph() const
{
    if (!fs::is_directory(from))
        return std::nullopt;
    const auto graph = run_folder_of(from) / kRunGraph;
    return fs::exists(graph) ? std::optional(graph) : std::nullopt;
}

void begin_from(const WarmStart& start, Job& job, std::vector<std::string>& notes)
{
    const bool is_folder = fs::is_directory(start.from);
    const bool exact = start.fit == WarmStart::Fit::Exact;
    const auto load = [&](const SafetensorsFile& weights) {
        if (exact)
            load_tensors(weights, state_of(*job.model));
        else
            load_what_fits(weights, state_of(*job.model), notes);
        notes.push_back(fmt::format("begins with the weights of {}", weights.path().string()));
    };
    if (!is_folder) {
        load(SafetensorsFile(start.from));
        return;
    }
    const auto checkpoint = Checkpoint::open(start.from);
    const auto where = (checkpoint.folder / "state.json").string();
    if (exact)
        check_variables(checkpoint.state, job.datasets, where);
    load(checkpoint.weights);
    if (start.normalisation == WarmStart::Normalisation::Dataset || !checkpoint.state.contains("processors"))
        return;
    try {
        load_processors(checkpoint.state, job.datasets, where);
        notes.emplace_back("and with its normalisation (training.update_ds_stats_on_ckpt_load.states=true takes the "
                           "data set's)");
    } catch (const CheckpointError& error) {
        if (exact)
            throw;
        notes.push_back(fmt::format("transfer learning: normalisation from the data set ({})", error.what()));
    }
}

nlohmann::json processor_state(std::span<const ModelDataset> datasets)
{
    auto result = nlohmann::json::object();
    for (const auto& dataset : datasets) {
        auto& own = result[dataset.name] = nlohmann::json::object();
        for (const auto& step : dataset.processors.steps())
            for (const auto& [name, value] : step.processor->buffers()) {
                const auto numbers = value.to(at::kCPU, at::kDouble).contiguous();
                own[step.name][name] =
                    std::vector<double>(numbers.data_ptr<double>(), numbers.data_ptr<double>() + numbers.numel());
            }
    }
    return result;
}

nlohmann::json processor_state_of(const nlohmann::json& state, const std::string& dataset)
{
    const auto all = state.value("processors", nlohmann::json::object());
    if (all.contains(dataset))
        return all[dataset];
    const auto holds_arrays = [](const nlohmann::json& step) {
        return step.is_object() && !step.empty() && step.begin()->is_array();
    };
    const bool is_unnamed = std::any_of(all.begin(), all.end(), holds_arrays);
    return is_unnamed ? all : nlohmann::json::object();
}

void load_processors(const nlohmann::json& state, std::span<const ModelDataset> datasets, const std::string& where)
{
    if (!state.contains("processors"))
        return;
    std::vector<std::string> faults;
    std::vector<std::pair<at::Tensor, at::Tensor>> copies; // from, to
    for (const auto& dataset : datasets) {
        const auto stored = processor_state_of(state, dataset.name);
        for (const auto& step : dataset.processors.steps())
            for (const auto& [name, own] : step.processor->buffers()) {
                const auto pointer = nlohmann::json::json_pointer() / step.name / name;
                const auto fault = [&](const std::string& what) {
                    faults.push_back(fmt::format("{}.{} of `{}` {}", step.name, name, dataset.name, what));
                };
                if (!stored.contains(pointer) || !stored[pointer].is_array()) {
                    if (name != model::kReplacement)
                        fault("is missing");
                } else if (int64_t(stored[pointer].size()) != own.numel())
                    fault(fmt::format("has {} values, expected {}", stored[pointer].size(), own.numel()));
                else
                    copies.emplace_back(at::tensor(stored[pointer].get<std::vector<double>>(), at::kDouble), own);
            }
    }
    GRADWIND_CHECK(faults.empty(), CheckpointError,
                   "[checkpoint] the normalisation in {} does not fit the configuration: {}", where,
                   fmt::join(faults, "; "));
    for (const auto& [from, to] : copies)
        to.copy_(from);
}

namespace
{

const char* name_of(Role role)
{
    constexpr const char* names[] = {"prognostic", "forcing", "diagnostic", "target"};
    return names[size_t(role)];
}

/// The variables that a checkpoint was made with, by data set.
std::map<std::string, VariableTable> variables_of(const nlohmann::json& state, const std::string& where)
try {
    const auto then = fingerprint_of(state);
    std::map<std::string, VariableTable> result;
    for (const auto& [dataset, variables] : then.at("variables").items()) {
        const auto& roles = then.at("data.datasets").at(dataset);
        const auto names = [&](const char* role) {
            return roles.contains(role) && roles[role].is_array() ? roles[role].get<std::vector<std::string>>()
                                                                  : std::vector<std::string>();
        };
        result.emplace(dataset, VariableTable(variables.get<std::vector<std::string>>(), names("forcing"),
                                              names("diagnostic"), names("target")));
    }
    return result;
} catch (const nlohmann::json::exception& error) {
    throw CheckpointError(
        fmt::format("[checkpoint] {} does not say which variables the weights were made for: {}", where, error.what()));
}

int64_t position_of(const std::string& name, const VariableTable& table)
{
    const auto found = std::find(table.names().begin(), table.names().end(), name);
    return found == table.names().end() ? -1 : found - table.names().begin();
}

/// How the variables of a data set differ from those of then.
std::vector<std::string> differences_of(const VariableTable& then, const VariableTable& now)
{
    std::vector<std::string> faults;
    for (int64_t i = 0; i < then.count(); ++i) {
        const auto& name = then.names()[size_t(i)];
        const auto position = position_of(name, now);
        if (position < 0)
            faults.push_back(fmt::format("`{}` ({}) is missing", name, name_of(then.role(i))));
        else if (now.role(position) != then.role(i))
            faults.push_back(
                fmt::format("`{}` was {}, is {}", name, name_of(then.role(i)), name_of(now.role(position))));
    }
    for (int64_t i = 0; i < now.count(); ++i)
        if (const auto& name = now.names()[size_t(i)]; position_of(name, then) < 0)
            faults.push_back(fmt::format("`{}` ({}) is new", name, name_of(now.role(i))));
    for (int64_t i = 0; faults.empty() && i < then.count(); ++i)
        if (now.names()[size_t(i)] != then.names()[size_t(i)])
            faults.push_back(fmt::format("the order differs from position {} on: `{}` there, `{}` here", i,
                                         then.names()[size_t(i)], now.names()[size_t(i)]));
    return faults;
}

} // namespace

void check_variables(const nlohmann::json& state, std::span<const ModelDataset> datasets, const std::string& where)
{
    const auto then = variables_of(state, where);
    std::vector<std::string> faults;
    for (const auto& dataset : datasets) {
        // One data set may have another name than then.
        const auto found = datasets.size() == 1 && then.size() == 1 ? then.begin() : then.find(dataset.name);
        if (found == then.end()) {
            faults.push_back(fmt::format("the data set `{}` is new", dataset.name));
            continue;
        }
        const auto own = differences_of(found->second, dataset.variables);
        faults.insert(faults.end(), own.begin(), own.end());
    }
    if (then.size() > datasets.size())
        faults.push_back(fmt::format("it has {} data sets, expected {}", then.size(), datasets.size()));
    GRADWIND_CHECK(faults.empty(), CheckpointError,
                   "[checkpoint] {} was made with other variables: {}; `select`, `drop` and `reorder` of the data set "
                   "and data.datasets.<name> can make them agree",
                   where, fmt::join(faults, "; "));
}

} // namespace gradwind::train
