// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/verify/golden_datasets.h"

#include "gradwind/core/error.h"
#include "gradwind/graph/graph.h"
#include "gradwind/model/several_datasets.h"
#include "gradwind/ops/tensor_io.h"
#include "gradwind/verify/golden_variables.h"
#include "gradwind/verify/tensor_error.h"

#include <ATen/ATen.h>

#include <limits>

namespace gradwind::verify
{

namespace
{

using Tensors = std::map<std::string, at::Tensor>;

constexpr double kTolerance64 = 1e-10;
// Single gradient tensors of the original lose up to 1e-5 in single precision (golden README, last tables).
constexpr double kTolerance32 = 5e-5;

class DatasetsCase
{
public:
    DatasetsCase(const std::filesystem::path& folder, const nlohmann::json& description)
        : section_(Config::from_json(description.at("config"), (folder / "case.json").string()).at("model")),
          steps_(description.at("dims")), graph_(graph::read_graph(folder / "graph.safetensors")),
          weights_(read(folder / "weights.safetensors")), inputs_(read(folder / "io.safetensors")),
          expected_(read(folder / "io64.safetensors"))
    {
        for (const auto& [name, variables] : description.at("datasets").items())
            tables_.emplace(name, variables_of_case({{"variables", variables}}));
        GRADWIND_CHECK(!tables_.empty(), DataError, "[verify] {} has no data set", folder.string());
    }

    CaseReport run()
    {
        CaseReport report;
        for (const auto dtype : {at::kDouble, at::kFloat}) {
            Tensors results;
            try {
                results = run_in(dtype);
            } catch (const ConfigError& error) {
                report.not_run.emplace_back(error.what());
                return report;
            }
            const bool is_double = dtype == at::kDouble;
            for (const auto& [name, stored] : expected_) {
                const auto found = results.find(name);
                report.check((is_double ? "float64 " : "float32 ") + name,
                             found == results.end() ? std::numeric_limits<double>::quiet_NaN() : error(found, stored),
                             is_double ? kTolerance64 : kTolerance32);
            }
        }
        return report;
    }

private:
    static Tensors read(const std::filesystem::path& path) { return ops::read_tensors(SafetensorsFile(path)); }

    /// Gradients that are zero on paper are held to the size of all.
    [[nodiscard]] double error(const Tensors::const_iterator& found, const at::Tensor& stored) const
    {
        const auto whole = expected_.at("total").abs().item<double>();
        if (stored.norm().item<double>() < 1e-13 * whole)
            return found->second.norm().item<double>() / whole;
        return relative_error(found->second, stored);
    }

    [[nodiscard]] std::shared_ptr<model::SeveralDatasetsModel> build(at::ScalarType dtype) const
    {
        const auto first = tables_.begin();
        std::vector<model::FurtherDataset> further;
        for (auto other = std::next(first); other != tables_.end(); ++other)
            further.push_back({other->first, other->second});
        auto network = model::build_model(section_,
                                          {.graph = graph_,
                                           .variables = first->second,
                                           .n_step_input = steps_.at("n_step_input"),
                                           .n_step_output = steps_.at("n_step_output"),
                                           .dataset_name = first->first},
                                          further);
        network->to(dtype);
        model::load_state(*network, weights_);
        return network;
    }

    [[nodiscard]] Tensors run_in(at::ScalarType dtype) const
    {
        const auto network = build(dtype);
        model::Fields x;
        for (const auto& [name, table] : tables_)
            x[name] = inputs_.at("x." + name).to(dtype).requires_grad_(true);
        const auto y = network->forward_all(x);
        Tensors results;
        at::Tensor total;
        for (const auto& [name, values] : y) {
            const auto part = (values * inputs_.at("weight." + name).to(dtype)).sum();
            total = total.defined() ? total + part : part;
            results["output." + name] = values.detach();
        }
        total.backward();
        results["total"] = total.detach();
        const auto gradient_of = [](const at::Tensor& tensor) {
            return tensor.grad().defined() ? tensor.grad() : at::zeros_like(tensor);
        };
        for (const auto& [name, values] : x)
            results["grad_input." + name] = gradient_of(values);
        for (const auto& item : network->named_parameters())
            results["grad." + item.key()] = gradient_of(item.value());
        return results;
    }

    Config section_;
    nlohmann::json steps_;
    graph::Graph graph_;
    Tensors weights_, inputs_, expected_;
    std::map<std::string, VariableTable> tables_;
};

} // namespace

CaseReport verify_datasets_case(const std::filesystem::path& folder, const nlohmann::json& description)
{
    return DatasetsCase(folder, description).run();
}

} // namespace gradwind::verify
