// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Stored results of whole networks: one forward and backward pass, a rollout, or the initial weights.
#include "gradwind/core/config.h"
#include "gradwind/core/error.h"
#include "gradwind/graph/graph.h"
#include "gradwind/loss/loss.h"
#include "gradwind/model/model.h"
#include "gradwind/model/rollout.h"
#include "gradwind/ops/tensor_io.h"
#include "gradwind/train/output_mask.h"
#include "gradwind/verify/golden_variables.h"
#include "gradwind/verify/report.h"

#include <ATen/ATen.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <set>

namespace gradwind::verify
{

namespace
{

using Tensors = std::map<std::string, at::Tensor>;

// Double precision proves the mathematics; the bounds of single precision are about ten times what the original itself
// loses (golden README, last tables).
constexpr double kTolerance64 = 1e-10;
constexpr double kTolerance32 = 2e-6;
constexpr double kGradientTolerance32 = 1e-5;
constexpr double kGradientMargin32 = 5;
constexpr double kCoordinateTolerance = 0x1p-23;
constexpr double kZeroGradient64 = 1e-12;
constexpr double kZeroGradient32 = 1e-6;

/// A case as read from its folder, before a model is built.
struct ModelCase {
    VariableTable variables;
    Config model;
    graph::Graph graph;
    Tensors weights, inputs, expected64, matrices;
    std::string dataset;
    std::unique_ptr<loss::Loss> score;
    std::set<std::string> zero_gradients;
    at::Tensor inside; ///< nodes that keep predictions in a rollout
    int64_t n_step_input = 1;
    int64_t n_step_output = 1;
    int64_t n_rollout = 1;
    int64_t n_members = 1;
    double worst_gradient = 0; ///< of the original, float32 against float64
    bool is_rollout = false;
};

Statistics unit_statistics(const VariableTable& variables)
{
    const std::vector<double> zeros(variables.names().size(), 0.0), ones(variables.names().size(), 1.0);
    return {zeros, ones, zeros, ones};
}

Tensors read_all(const std::filesystem::path& path)
{
    return ops::read_tensors(SafetensorsFile(path));
}

/// The data set of a case, which gives its nodes their name.
std::string dataset_of(const Config& model)
{
    if (const auto encoders = model.find("encoders"); encoders && encoders->is_map() && !encoders->items().empty())
        return encoders->items().front().get<std::vector<std::string>>("source_datasets", {"data"}).front();
    return "data";
}

/// A matrix of the case by its name, `matrix.<name>`.
grid::MatrixByName matrices_of(const Tensors& tensors)
{
    return [&tensors](const std::string& name) -> std::optional<grid::SparseMatrix> {
        if (!tensors.contains(name + ".row_ptr"))
            return std::nullopt;
        const auto integers = [&](const char* part) {
            const auto values = tensors.at(name + part).to(at::kLong).contiguous();
            return std::vector<int64_t>(values.data_ptr<int64_t>(), values.data_ptr<int64_t>() + values.numel());
        };
        const auto values = tensors.at(name + ".values").to(at::kDouble).contiguous();
        const auto shape = integers(".shape");
        grid::SparseMatrix matrix{shape.at(0),
                                  shape.at(1),
                                  integers(".row_ptr"),
                                  integers(".col"),
                                  {values.data_ptr<double>(), values.data_ptr<double>() + values.numel()}};
        grid::check_matrix(matrix, name);
        return matrix;
    };
}

/// The noise of a case, one tensor for each rollout step.
class StoredNoise : public model::NoiseSource
{
public:
    explicit StoredNoise(const Tensors& inputs) : inputs_(inputs) {}
    [[nodiscard]] at::Tensor draw(const model::NoiseRequest& request) const override
    {
        return inputs_.at(request.rollout_step == 0 ? "noise" : "noise.step" + std::to_string(request.rollout_step));
    }

private:
    const Tensors& inputs_;
};

/// The original's weights by variable have one for each variable that only the loss sees, too: what it takes of them
/// are those at the positions of the outputs among all that the loss sees.
at::Tensor of_outputs(const at::Tensor& values, const VariableTable& variables)
{
    std::vector<int64_t> positions;
    int64_t n_seen = 0;
    for (int64_t i = 0; i < variables.count(); ++i) {
        const auto role = variables.role(i);
        if (role != Role::Forcing && role != Role::Target)
            positions.push_back(n_seen);
        n_seen += role != Role::Forcing;
    }
    const bool has_more = values.dim() == 1 && n_seen > int64_t(positions.size()) && values.size(0) == n_seen;
    return has_more ? values.index_select(0, at::tensor(positions, at::kLong)) : values;
}

/// The configured loss, with the scalers as stored.
void read_score(ModelCase& out, const nlohmann::json& description, const Statistics& statistics)
{
    const auto config = Config::from_json(description.at("config"), "case.json");
    loss::LossInputs inputs{.variables = out.variables, .statistics = statistics};
    inputs.n_step_output = out.n_step_output;
    inputs.matrices = matrices_of(out.matrices);
    inputs.output_mask = out.inside;
    for (const auto& [name, values] : out.inputs)
        if (name.starts_with("scaler.") && name != "scaler.nan_mask_weights")
            inputs.given[name.substr(7)] = of_outputs(values, out.variables);
    const auto section = [&](const char* key) { return loss::dataset_section(config.at(key), out.dataset); };
    out.score = loss::build_loss(section("training_loss"), section("scalers"), section("variable_groups"), inputs);
}

ModelCase read_case(const std::filesystem::path& folder, const nlohmann::json& description)
{
    ModelCase out;
    const auto& dims = description.at("dims");
    out.variables = variables_of_case(description);
    out.model = Config::from_json(description.at("config"), (folder / "case.json").string()).at("model");
    out.graph = graph::read_graph(folder / "graph.safetensors");
    out.matrices = read_all(folder / "graph.safetensors");
    out.weights = read_all(folder / "weights.safetensors");
    out.inputs = read_all(folder / "io.safetensors");
    out.expected64 = read_all(folder / "io64.safetensors");
    out.n_step_input = dims.at("n_step_input");
    out.n_step_output = dims.at("n_step_output");
    out.n_rollout = dims.value("rollout", int64_t(1));
    out.n_members = dims.value("ensemble_size", int64_t(1));
    out.is_rollout = out.inputs.contains("batch");
    out.dataset = dataset_of(out.model);
    out.inside = train::output_mask(out.model, out.graph, out.dataset);
    const auto& measured = description.at("measured_fp32_vs_fp64");
    out.worst_gradient = measured.value("grad_worst_tensor_l2_rel", 0.0);
    for (const auto& name : measured.value("grad_mathematically_zero", nlohmann::json::array()))
        out.zero_gradients.insert(name);
    return out;
}

std::shared_ptr<model::ForecastModel> build(const ModelCase& golden, at::ScalarType dtype)
{
    // Values that depend on statistics are buffers and come with the weights.
    const auto unit = unit_statistics(golden.variables);
    auto network = model::build_model(golden.model, {.graph = golden.graph,
                                                     .variables = golden.variables,
                                                     .statistics = &unit,
                                                     .n_step_input = golden.n_step_input,
                                                     .n_step_output = golden.n_step_output,
                                                     .dataset_name = golden.dataset,
                                                     .matrices = matrices_of(golden.matrices)});
    network->to(dtype);
    model::load_state(*network, golden.weights);
    return network;
}

/// Runs the case and names what comes out as the files do.
Tensors run_case_in(const ModelCase& golden, at::ScalarType dtype)
{
    const auto network = build(golden, dtype);
    Tensors results;
    std::string suffix;
    network->observer = [&](const std::string& name, const at::Tensor& value) {
        results["inter." + name + suffix] = value.detach();
    };
    const auto* input_name = golden.is_rollout ? "batch" : "x";
    const auto input = golden.inputs.at(input_name).to(dtype).requires_grad_(true);
    auto x = golden.is_rollout ? model::first_input(input, golden.n_step_input, golden.variables) : input;
    x = x.expand({-1, -1, golden.n_members, -1, -1});
    const StoredNoise noise(golden.inputs);
    at::Tensor total;
    for (int64_t step = 0; step < golden.n_rollout; ++step) {
        suffix = step == 0 ? "" : ".step" + std::to_string(step);
        const auto y = network->forward(x, {.rollout_step = step, .noise = &noise});
        const auto target = golden.is_rollout ? model::target_of(input, golden.n_step_input, golden.n_step_output, step)
                                              : golden.inputs.at("target").to(dtype);
        const auto per_variable = golden.score->per_variable(y, target);
        const auto loss = (*golden.score)(y, target);
        results["output" + suffix] = y.detach();
        results["loss_per_variable" + suffix] = per_variable.detach();
        results["loss_step" + suffix] = loss.detach();
        total = total.defined() ? total + loss : loss;
        if (step + 1 < golden.n_rollout)
            x = model::advance_input(x, y, input, step, golden.variables, golden.inside);
    }
    total = total / double(golden.n_rollout);
    total.backward();
    results["loss"] = total.detach();
    results[std::string("grad_input.") + input_name] = input.grad();
    for (const auto& item : network->named_parameters()) {
        const auto& gradient = item.value().grad();
        results["grad." + item.key()] = gradient.defined() ? gradient : at::zeros_like(item.value());
    }
    return results;
}

double relative_difference(const at::Tensor& value, const at::Tensor& expected)
{
    if (value.numel() != expected.numel())
        return std::numeric_limits<double>::quiet_NaN();
    const auto b = expected.to(at::kDouble).reshape({-1});
    const auto difference = (value.to(at::kDouble).reshape({-1}) - b).norm().item<double>();
    const auto size = b.norm().item<double>();
    return size > 0 ? difference / size : difference;
}

double whole_gradient(const Tensors& results)
{
    double sum = 0;
    for (const auto& [name, tensor] : results)
        if (name.starts_with("grad."))
            sum += tensor.to(at::kDouble).square().sum().item<double>();
    return std::sqrt(sum);
}

void compare(CaseReport& report, const ModelCase& golden, const Tensors& results, at::ScalarType dtype)
{
    const bool is_double = dtype == at::kDouble;
    const auto prefix = is_double ? "float64 " : "float32 ";
    const auto gradient_tolerance =
        is_double ? kTolerance64 : std::max(kGradientTolerance32, kGradientMargin32 * golden.worst_gradient);
    for (const auto& [name, expected] : golden.expected64) {
        const auto found = results.find(name);
        if (found == results.end()) {
            report.check(prefix + name + " (not computed)", std::numeric_limits<double>::quiet_NaN(), 0);
            continue;
        }
        if (name.starts_with("grad.") && golden.zero_gradients.contains(name.substr(5))) {
            report.check(prefix + name + " (zero, over the whole gradient)",
                         found->second.to(at::kDouble).norm().item<double>() / whole_gradient(results),
                         is_double ? kZeroGradient64 : kZeroGradient32);
            continue;
        }
        const bool is_gradient = name.starts_with("grad");
        report.check(prefix + name, relative_difference(found->second, expected),
                     is_gradient ? gradient_tolerance : (is_double ? kTolerance64 : kTolerance32));
    }
    // What enters the parts of the network is stored in single precision only.
    for (const auto& [name, expected] : golden.inputs)
        if (!is_double && name.starts_with("inter.") && !golden.expected64.contains(name) && results.contains(name))
            report.check(prefix + name, relative_difference(results.at(name), expected), kTolerance32);
}

} // namespace

CaseReport verify_model_case(const std::filesystem::path& folder, const nlohmann::json& description)
{
    CaseReport report;
    auto golden = read_case(folder, description);
    try {
        (void)build(golden, at::kFloat);
        read_score(golden, description, unit_statistics(golden.variables));
    } catch (const ConfigError& error) {
        report.not_run.emplace_back(error.what());
        return report;
    }
    for (const auto dtype : {at::kDouble, at::kFloat})
        compare(report, golden, run_case_in(golden, dtype), dtype);
    return report;
}

CaseReport verify_init_case(const std::filesystem::path& folder, const nlohmann::json& description)
{
    CaseReport report;
    const auto& dims = description.at("dims");
    const auto variables = variables_of_case(description);
    const auto section = Config::from_json(description.at("config"), (folder / "case.json").string()).at("model");
    const auto graph = graph::read_graph(folder / "graph.safetensors");
    const auto expected = read_all(folder / "weights.safetensors");
    std::shared_ptr<model::ForecastModel> network;
    try {
        network = model::build_model(section, {.graph = graph,
                                               .variables = variables,
                                               .n_step_input = dims.at("n_step_input"),
                                               .n_step_output = dims.at("n_step_output")});
    } catch (const ConfigError& error) {
        report.not_run.emplace_back(error.what());
        return report;
    }
    model::initialise_weights(*network, description.at("trainer_seed").get<uint32_t>());
    const auto own = model::named_state(*network);
    for (const auto& [name, tensor] : own)
        if (!expected.contains(name))
            report.check(name + " (not in the original)", std::numeric_limits<double>::quiet_NaN(), 0);
    for (const auto& [name, values] : expected) {
        const auto found = own.find(name);
        if (found == own.end() || found->second.numel() != values.numel()) {
            report.check(name + " (missing or of another shape)", std::numeric_limits<double>::quiet_NaN(), 0);
            continue;
        }
        const auto value = found->second.detach().reshape({-1});
        // Coordinates are not drawn: their last bit is that of the sine in the libraries at hand.
        if (name.find("latlons_") != std::string::npos)
            report.check(name + ", largest difference", (value - values.reshape({-1})).abs().max().item<double>(),
                         kCoordinateTolerance);
        else
            report.check(name + ", elements that differ", double(value.ne(values.reshape({-1})).sum().item<int64_t>()),
                         0);
    }
    return report;
}

} // namespace gradwind::verify
