// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Case kind `losses`: scalers, loss values in both reductions and by variable, gradients.
#include "gradwind/core/error.h"
#include "gradwind/loss/loss.h"
#include "gradwind/ops/tensor_io.h"
#include "gradwind/verify/golden_variables.h"
#include "gradwind/verify/report.h"
#include "gradwind/verify/tensor_error.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

namespace gradwind::verify
{

namespace
{

constexpr double kScalerTolerance = 1e-6;
constexpr double kLossTolerance = 2e-6;
constexpr double kGradientTolerance = 1e-5;
constexpr double kDoubleTolerance = 1e-10;

using Tensors = std::map<std::string, at::Tensor>;

Config config_of(const nlohmann::json& json)
{
    return Config::from_json(json, "case.json");
}

loss::VariableGroups default_groups()
{
    return loss::VariableGroups(config_of({{"default", "sfc"}, {"pl", {{"param", {"q", "t", "u", "v", "w", "z"}}}}}));
}

class LossesCase
{
public:
    LossesCase(const std::filesystem::path& folder, const nlohmann::json& description)
        : description_(description), io_(ops::read_tensors(SafetensorsFile(folder / "io.safetensors"))),
          io64_(ops::read_tensors(SafetensorsFile(folder / "io64.safetensors"))),
          scalers_(ops::read_tensors(SafetensorsFile(folder / "scalers.safetensors"))),
          graph_(ops::read_tensors(SafetensorsFile(folder / "graph.safetensors"))),
          variables_(variables_of_case(description)), statistics_(statistics_of_json(description.at("statistics"))),
          tendencies_(statistics_of_json(description.at("statistics_tendencies")))
    {
    }

    CaseReport run()
    {
        check_scalers();
        check_extra_scalers();
        for (const auto& [name, entry] : description_.at("losses").items())
            check_loss(name, entry);
        return std::move(report_);
    }

private:
    loss::LossInputs inputs()
    {
        return {.variables = variables_,
                .statistics = statistics_,
                .tendencies = {{"6h", tendencies_}},
                .node_attribute =
                    [this](const std::string& name) {
                        const auto found = graph_.find("nodes.data." + name);
                        return found == graph_.end() ? at::Tensor() : found->second;
                    },
                .n_step_output = description_.at("dims").at("n_step_output").get<int64_t>()};
    }

    at::Tensor scaler(const nlohmann::json& config, loss::LossInputs in)
    {
        const loss::ScalerSet set(config_of({{"scaler", config}}), default_groups(), in);
        return set.get("scaler").values;
    }

    void check_scalers()
    {
        for (const auto& [name, config] : description_.at("scalers_config").items()) {
            const auto& stored = scalers_.at("scaler." + name);
            report_.check("scaler." + name,
                          relative_error(name == "nan_mask_weights" ? nan_mask() : scaler(config, inputs()), stored),
                          kScalerTolerance);
        }
    }

    /// 1 where an imputed variable of the first time was there, in the layout [B, N, V_out].
    at::Tensor nan_mask()
    {
        const auto first = io_.at("batch_raw").select(1, 0).select(1, 0);
        const auto outputs = at::tensor(variables_.data_output(), at::kLong);
        return at::isnan(first).logical_not().index_select(2, outputs).to(at::kFloat);
    }

    /// extra.<class>.<y_intercept>.<slope>.<norm>, numbers with one dot each;
    /// extra.LeadTimeDecayScaler.<type>.<plain|inverse>
    void check_extra_scalers()
    {
        for (const auto& [name, stored] : scalers_) {
            std::vector<std::string> parts;
            std::istringstream in(name);
            for (std::string part; std::getline(in, part, '.');)
                parts.push_back(part);
            nlohmann::json config;
            auto given = inputs();
            if (parts.front() != "extra")
                continue;
            if (parts.at(1) == "LeadTimeDecayScaler") {
                given.n_step_output = 3;
                config = {{"_target_", parts[1]},      {"output_lead_times", {6, 12, 18}},
                          {"decay_factor", 0.3},       {"max_lead_time", 24},
                          {"decay_type", parts.at(2)}, {"inverse", parts.at(3) == "inverse"}};
            } else {
                config = {{"_target_", parts[1]},
                          {"group", "pl"},
                          {"y_intercept", std::stod(parts.at(2) + "." + parts.at(3))},
                          {"slope", std::stod(parts.at(4) + "." + parts.at(5))}};
                if (parts.at(6) != "none")
                    config["norm"] = parts[6];
            }
            report_.check(name, relative_error(scaler(config, given), stored), kScalerTolerance);
        }
    }

    void check_loss(const std::string& name, const nlohmann::json& entry)
    {
        std::unique_ptr<loss::Loss> own, with_stored_scalers;
        try {
            auto given = inputs();
            own = build(entry.at("config"), given);
            for (const auto& [key, value] : io_)
                if (key.starts_with("scaler.") && value.dim() == 1)
                    given.given[key.substr(7)] = value;
            with_stored_scalers = build(entry.at("config"), given);
        } catch (const ConfigError& error) {
            report_.not_run.push_back(name + ": " + error.what());
            return;
        }
        check_values("fp32 " + name, *own, name, entry, at::kFloat, kLossTolerance, kGradientTolerance);
        check_values("fp64 " + name, *with_stored_scalers, name, entry, at::kDouble, kDoubleTolerance,
                     kDoubleTolerance);
    }

    std::unique_ptr<loss::Loss> build(const nlohmann::json& config, const loss::LossInputs& given)
    {
        const loss::ScalerSet set(config_of(description_.at("scalers_config")), default_groups(), given);
        return loss::build_loss(config_of(config), set);
    }

    /// Value by value against the float64 results.
    void check_values(const std::string& label, const loss::Loss& loss, const std::string& name,
                      const nlohmann::json& entry, at::ScalarType type, double tolerance, double gradient_tolerance)
    {
        const auto tensor = [&](const char* key) { return io_.at(entry.at(key).get<std::string>()).to(type); };
        const auto target = tensor("target");
        auto pred = tensor("prediction").clone().requires_grad_(true);
        loss::LossContext context{.nan_mask = io_.at("scaler.nan_mask_weights")};
        if (name.starts_with("weighted_mse"))
            context.weights = io_.at("weights").to(type);
        const auto value = loss(pred, target, context);
        const auto gradient = torch::autograd::grad({value}, {pred}).front();
        const auto check = [&](const char* what, const at::Tensor& got, double allowed) {
            if (const auto stored = io64_.find(name + what); stored != io64_.end())
                report_.check(label + what, relative_error(got, stored->second), allowed);
        };
        check(".loss", value, tolerance);
        check(".loss_per_variable", loss.per_variable(pred, target, context), tolerance);
        check(".grad_pred", gradient, gradient_tolerance);
        if (io64_.contains(name + ".loss_sum")) {
            context.squash = loss::Squash::Sum;
            check(".loss_sum", loss(pred, target, context), tolerance);
        }
    }

    const nlohmann::json& description_;
    Tensors io_, io64_, scalers_, graph_;
    VariableTable variables_;
    Statistics statistics_, tendencies_;
    CaseReport report_;
};

} // namespace

CaseReport verify_losses_case(const std::filesystem::path& folder, const nlohmann::json& description)
{
    return LossesCase(folder, description).run();
}

} // namespace gradwind::verify
