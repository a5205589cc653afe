// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Ten optimiser steps of the original: losses, rates, gradient norms, weights and moments (kind "optim").
#include "gradwind/core/error.h"
#include "gradwind/graph/graph.h"
#include "gradwind/loss/loss.h"
#include "gradwind/model/several_datasets.h"
#include "gradwind/ops/tensor_io.h"
#include "gradwind/parallel/gradient_engine.h"
#include "gradwind/train/settings.h"
#include "gradwind/train/step_loss.h"
#include "gradwind/verify/golden_variables.h"
#include "gradwind/verify/report.h"
#include "gradwind/verify/tensor_error.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace gradwind::verify
{

namespace
{

using Tensors = std::map<std::string, at::Tensor>;

/// How near each kind of result has to come, in one precision, to the original in float64.
struct Tolerances {
    double loss, gradient, weights, moments;
};
constexpr Tolerances kTolerances64{1e-10, 1e-10, 1e-10, 1e-10};
constexpr Tolerances kTolerances32{2e-6, 1e-5, 5e-6, 5e-5};
constexpr double kRateTolerance = 1e-12;

/// The case's sections where a whole configuration has them.
Config as_configuration(const nlohmann::json& description, const std::string& source)
{
    const auto& config = description.at("config");
    return Config::from_json({{"data", {{"datasets", {{"data", nlohmann::json::object()}}}}},
                              {"task", config.at("task")},
                              {"training",
                               {{"optimization", config.at("optimization")},
                                {"gradient_clip", config.at("gradient_clip")},
                                {"max_steps", config.at("max_steps")}}}},
                             source);
}

class OptimCase
{
public:
    OptimCase(const std::filesystem::path& folder, const nlohmann::json& description)
        : variables_(variables_of_case(description)), graph_(graph::read_graph(folder / "graph.safetensors")),
          sections_(Config::from_json(description.at("config"), (folder / "case.json").string())),
          settings_(
              train::TrainSettings::from_config(as_configuration(description, (folder / "case.json").string()), {})),
          weights_(read(folder / "weights.safetensors")), io_(read(folder / "io.safetensors")),
          io64_(read(folder / "io64.safetensors")), n_rollout_(description.at("dims").at("rollout"))
    {
    }

    /// @throws ConfigError if the case has parts that are not available
    [[nodiscard]] std::shared_ptr<model::SeveralDatasetsModel> model(at::ScalarType dtype) const;
    void run(CaseReport& report, at::ScalarType dtype) const;

private:
    static Tensors read(const std::filesystem::path& path) { return ops::read_tensors(SafetensorsFile(path)); }
    [[nodiscard]] std::unique_ptr<loss::Loss> loss() const;
    void compare_state(CaseReport& report, const std::string& prefix, const Tolerances& tolerances,
                       const model::ForecastModel& model, const train::AdamW& optimizer) const;

    VariableTable variables_;
    graph::Graph graph_;
    Config sections_;
    train::TrainSettings settings_;
    Tensors weights_, io_, io64_;
    int64_t n_rollout_ = 1;
};

Statistics unit_statistics(const VariableTable& variables)
{
    const std::vector<double> zeros(variables.names().size(), 0.0), ones(variables.names().size(), 1.0);
    return {zeros, ones, zeros, ones};
}

std::shared_ptr<model::SeveralDatasetsModel> OptimCase::model(at::ScalarType dtype) const
{
    const auto statistics = unit_statistics(variables_);
    auto network = model::build_model(sections_.at("model"),
                                      {.graph = graph_,
                                       .variables = variables_,
                                       .statistics = &statistics,
                                       .n_step_input = settings_.task.n_step_input,
                                       .n_step_output = settings_.task.n_step_output},
                                      {});
    network->to(dtype);
    model::load_state(*network, weights_);
    return network;
}

std::unique_ptr<loss::Loss> OptimCase::loss() const
{
    // The case gives the scalers themselves; the statistics they were made of are not stored.
    std::map<std::string, at::Tensor> scalers;
    for (const auto& [name, tensor] : io_)
        if (name.starts_with("scaler."))
            scalers[name.substr(7)] = tensor;
    const auto statistics = unit_statistics(variables_);
    const loss::LossInputs inputs{.variables = variables_,
                                  .statistics = statistics,
                                  .n_step_output = settings_.task.n_step_output,
                                  .given = std::move(scalers)};
    return loss::build_loss(sections_.at("training_loss"), sections_.at("scalers"), sections_.at("variable_groups"),
                            inputs);
}

void OptimCase::run(CaseReport& report, at::ScalarType dtype) const
{
    const bool is_double = dtype == at::kDouble;
    const auto& tolerances = is_double ? kTolerances64 : kTolerances32;
    const std::string prefix = is_double ? "io64 " : "io ";
    const auto network = model(dtype);
    const auto criterion = loss();
    std::vector<parallel::NamedParameter> parameters;
    for (const auto& item : network->named_parameters())
        if (item.value().requires_grad())
            parameters.push_back({item.key(), item.value()});
    parallel::GradientEngine engine(parameters, parallel::Group::self());
    train::AdamW optimizer(engine.slices(), engine.flat_parameters(), engine.flat_gradients(), settings_.optimizer,
                           settings_.clip);
    const auto batches = io_.at("batches").to(dtype); // [steps, B, T, 1, N, V]
    const auto n_steps = batches.size(0);
    std::vector<double> losses, rates, norms, largest;
    for (int64_t step = 0; step < n_steps; ++step) {
        engine.begin_step();
        const train::RolloutDataset data{settings_.dataset_names.front(), variables_, batches[step], criterion.get()};
        const auto value = train::rollout_loss(*network, {&data, 1}, settings_.task, n_rollout_).total;
        engine.begin_backward(parallel::Sync::Reduce);
        value.backward();
        engine.finish();
        optimizer.move_to(engine.slices(), engine.flat_parameters(), engine.flat_gradients());
        largest.push_back(engine.flat_gradients().abs().max().item<double>());
        rates.push_back(settings_.schedule.at(step));
        norms.push_back(optimizer.step(rates.back()).grad_norm);
        losses.push_back(value.item<double>());
    }
    const auto check_steps = [&](const char* name, const std::vector<double>& found, double tolerance) {
        const auto expected = io64_.at(name).to(at::kDouble);
        const auto error = (at::tensor(found, at::kDouble) - expected).abs();
        const auto scale = std::string(name) == "learning_rate" ? expected.abs().max() : expected.abs();
        report.check(prefix + name, (error / scale).max().item<double>(), tolerance);
    };
    check_steps("loss", losses, tolerances.loss);
    check_steps("learning_rate", rates, kRateTolerance);
    check_steps("grad_norm_before_clip", norms, tolerances.gradient);
    check_steps("grad_absmax_before_clip", largest, tolerances.gradient);
    compare_state(report, prefix, tolerances, *network, optimizer);
}

void OptimCase::compare_state(CaseReport& report, const std::string& prefix, const Tolerances& tolerances,
                              const model::ForecastModel& model, const train::AdamW& optimizer) const
{
    const auto check = [&](const std::string& name, const at::Tensor& value, double tolerance) {
        const auto expected = io64_.find(name);
        GRADWIND_CHECK(expected != io64_.end(), DataError, "[verify] io64.safetensors has no tensor `{}`", name);
        report.check(prefix + name, relative_error(value, expected->second.reshape(value.sizes())), tolerance);
    };
    const auto parameters = model.named_parameters();
    // A constant added to all keys of a destination leaves its softmax as it is: unless keys are normalised, the
    // gradient of their bias is rounding noise, which AdamW turns into steps of full length (spec §4.2).
    const auto is_noise = [&](const std::string& name) {
        const std::string bias = ".lin_key.bias";
        const auto start = name.find('.') + 1; // of the parameter, in names of moments
        const auto of_parameter = parameters.contains(name) ? name : name.substr(start);
        return name.ends_with(bias) &&
               !parameters.contains(of_parameter.substr(0, of_parameter.size() - bias.size()) + ".k_norm.weight");
    };
    for (const auto& item : parameters)
        if (!is_noise(item.key()))
            check("final." + item.key(), item.value().detach(), tolerances.weights);
    for (const auto& [name, moment] : optimizer.state())
        if (!is_noise(name))
            check(name, moment, tolerances.moments);
}

} // namespace

CaseReport verify_optim_case(const std::filesystem::path& folder, const nlohmann::json& description)
{
    CaseReport report;
    std::optional<OptimCase> golden;
    try {
        golden.emplace(folder, description);
        (void)golden->model(at::kFloat);
    } catch (const ConfigError& error) {
        report.not_run.emplace_back(error.what());
        return report;
    }
    golden->run(report, at::kDouble);
    golden->run(report, at::kFloat);
    return report;
}

} // namespace gradwind::verify
