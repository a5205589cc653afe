// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Case kind `normalizer`: every pre- and post-processor, both ways, in every space.
#include "gradwind/core/error.h"
#include "gradwind/model/processors.h"
#include "gradwind/ops/tensor_io.h"
#include "gradwind/verify/golden_variables.h"
#include "gradwind/verify/report.h"
#include "gradwind/verify/tensor_error.h"

#include <ATen/ATen.h>

namespace gradwind::verify
{

namespace
{

constexpr double kTolerance = 1e-6;

class NormalizerCase
{
public:
    NormalizerCase(const std::filesystem::path& folder, const nlohmann::json& description)
        : description_(description), io_(ops::read_tensors(SafetensorsFile(folder / "io.safetensors"))),
          variables_(variables_of_case(description))
    {
    }

    CaseReport run()
    {
        for (const auto& [name, entry] : description_.at("processors").items()) {
            try {
                check_processor(name, entry);
            } catch (const Error& error) {
                report_.not_run.push_back(name + ": " + error.what());
            }
        }
        return std::move(report_);
    }

private:
    /// The processors section that an entry of the case stands for.
    Config section(const std::string& name, const nlohmann::json& entry)
    {
        auto steps = nlohmann::json::object();
        const auto add = [&](const std::string& step, const nlohmann::json& what) {
            // Steps are numbered so that a JSON object keeps the order of the pipeline.
            steps[fmt::format("{}-{}", steps.size(), step)] = {{"_target_", what.at("class")},
                                                               {"config", what.at("config")}};
        };
        if (entry.contains("order"))
            for (const auto& step : entry["order"])
                add(step.get<std::string>(), description_.at("processors").at(step.get<std::string>()));
        else
            add(name, entry);
        return Config::from_json(steps, "case.json");
    }

    void check(const std::string& name, const at::Tensor& value)
    {
        if (const auto stored = io_.find(name); stored != io_.end())
            report_.check(name, relative_error(value, stored->second), kTolerance);
    }

    void check_processor(const std::string& name, const nlohmann::json& entry)
    {
        auto statistics = statistics_of_json(description_.at("statistics"));
        const auto processors = model::build_processors(section(name, entry), {variables_, statistics});
        const auto& input = io_.at(entry.at("input").get<std::string>());
        if (io_.contains(name + ".forward_model_input")) {
            const auto x = input.index_select(4, at::tensor(variables_.data_input(), at::kLong));
            (void)processors.transform(x, model::Space::ModelInput);
            check(name + ".forward_model_input", x);
        }
        model::BatchMasks masks;
        if (io_.contains(name + ".forward")) {
            const auto x = input.clone();
            masks = processors.transform(x, model::Space::Dataset);
            check(name + ".forward", x);
            processors.inverse(x, model::Space::Dataset, masks);
            check(name + ".inverse_of_forward", x);
        }
        const auto output = io_.at("model_output").clone();
        processors.inverse(output, model::Space::ModelOutput, masks);
        check(name + ".inverse_model_output", output);
        check(name + ".loss_mask_training", masks.loss_mask);
        check_state(name, entry, processors, statistics);
    }

    void check_state(const std::string& name, const nlohmann::json& entry, const model::Processors& processors,
                     const Statistics& statistics)
    {
        for (const auto& step : processors.steps())
            for (const auto& [buffer, value] : step.processor->buffers())
                check(name + ".state." + buffer, value);
        const auto list = [](const std::vector<int64_t>& values) { return at::tensor(values, at::kLong); };
        check(name + ".state._input_idx", list(variables_.data_input()));
        check(name + ".state._output_idx", list(variables_.data_output()));
        check(name + ".state._model_output_idx", list(variables_.data_output()));
        if (!entry.contains("statistics_after"))
            return;
        const auto expected = statistics_of_json(entry["statistics_after"]);
        const auto compare = [&](const char* what, const std::vector<double>& a, const std::vector<double>& b) {
            report_.check(fmt::format("{}.statistics_after.{}", name, what),
                          relative_error(at::tensor(a, at::kDouble), at::tensor(b, at::kDouble)), kTolerance);
        };
        compare("mean", statistics.mean, expected.mean);
        compare("stdev", statistics.stdev, expected.stdev);
        compare("minimum", statistics.minimum, expected.minimum);
        compare("maximum", statistics.maximum, expected.maximum);
    }

    const nlohmann::json& description_;
    std::map<std::string, at::Tensor> io_;
    VariableTable variables_;
    CaseReport report_;
};

} // namespace

CaseReport verify_normalizer_case(const std::filesystem::path& folder, const nlohmann::json& description)
{
    return NormalizerCase(folder, description).run();
}

} // namespace gradwind::verify
