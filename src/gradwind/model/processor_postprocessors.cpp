// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Post-processors act on the way back only (spec §8.3).
#include "gradwind/model/processor_methods.h"

#include "gradwind/core/error.h"

#include <ATen/ATen.h>

#include <functional>
#include <limits>

namespace gradwind::model
{

namespace
{

/// Changes one column of `x`, given whole fields and the column.
using Change = std::function<void(const at::Tensor& column)>;

struct Entry {
    int64_t variable;
    Change change;
};

class ColumnPostprocessor final : public FieldProcessor
{
public:
    ColumnPostprocessor(std::vector<Entry> entries, const VariableTable& variables)
        : entries_(std::move(entries)), columns_(variables)
    {
    }
    void transform(const at::Tensor&, Space, BatchMasks&) const override {}
    void inverse(const at::Tensor& x, Space space, const BatchMasks&) const override
    {
        for (const auto& entry : entries_)
            if (const auto column = columns_(space, entry.variable); column >= 0)
                entry.change(x.select(-1, column));
    }

private:
    std::vector<Entry> entries_;
    Columns columns_;
};

using Condition = at::Tensor (*)(const at::Tensor& column);

/// Sets variables to a value wherever another variable meets a condition.
class ConditionalPostprocessor final : public FieldProcessor
{
public:
    struct Value {
        int64_t variable;
        double value;
    };
    ConditionalPostprocessor(std::vector<Value> values, int64_t masking, Condition condition,
                             const VariableTable& variables)
        : values_(std::move(values)), masking_(masking), condition_(condition), columns_(variables)
    {
    }
    void transform(const at::Tensor&, Space, BatchMasks&) const override {}
    void inverse(const at::Tensor& x, Space space, const BatchMasks&) const override
    {
        const auto masking = columns_(space, masking_);
        if (masking < 0)
            return;
        const auto where = condition_(x.select(-1, masking));
        for (const auto& value : values_)
            if (const auto column = columns_(space, value.variable); column >= 0)
                x.select(-1, column).masked_fill_(where, value.value);
    }

private:
    std::vector<Value> values_;
    int64_t masking_;
    Condition condition_;
    Columns columns_;
};

/// Calls use(variable, method) for every variable with a method. @throws ConfigError for one the model does not predict
template <class Use>
void for_each_method(const ProcessorRequest& request, const Use& use)
{
    const auto& variables = request.inputs.variables;
    const auto methods = read_methods(request.config, variables);
    const Columns columns(variables);
    for (size_t i = 0; i < methods.by_variable.size(); ++i) {
        if (methods.by_variable[i] == "none")
            continue;
        GRADWIND_CHECK(columns(Space::ModelOutput, int64_t(i)) >= 0, ConfigError,
                       "[processors] {} is no output of the model, so nothing can post-process it ({})",
                       variables.names()[i], request.config.where());
        use(int64_t(i), methods.by_variable[i]);
    }
}

Change clamp_function(const std::string& method, const Config& where)
{
    if (method == "relu")
        return [](const at::Tensor& x) { x.clamp_min_(0); };
    if (method == "hardtanh")
        return [](const at::Tensor& x) { x.clamp_(-1, 1); };
    GRADWIND_CHECK(method == "hardtanh_0_1", ConfigError,
                   "[processors] Postprocessor knows relu, hardtanh and hardtanh_0_1, not `{}` ({})", method,
                   where.where());
    return [](const at::Tensor& x) { x.clamp_(0, 1); };
}

/// A threshold in physical units, in the space of a normaliser's method.
double normalised_threshold(double value, const std::string& normalizer, size_t i, const ProcessorRequest& request)
{
    const auto& s = request.inputs.statistics;
    if (normalizer == "mean-std")
        return (value - s.mean[i]) / s.stdev[i];
    if (normalizer == "std")
        return value / s.stdev[i];
    if (normalizer == "min-max")
        return (value - s.minimum[i]) / (s.maximum[i] - s.minimum[i]);
    if (normalizer == "max")
        return value / s.maximum[i];
    GRADWIND_CHECK(normalizer == "none", ConfigError,
                   "[processors] normalizer must be none, mean-std, std, min-max or max, got `{}` ({})", normalizer,
                   request.config.where());
    return value;
}

std::unique_ptr<FieldProcessor> make_conditional(const ProcessorRequest& request, Condition condition,
                                                 const std::function<double(const std::string&)>& value_of)
{
    const auto masking = require_variable(request.config.get<std::string>("remap"), request.inputs.variables,
                                          request.config.at("remap"));
    std::vector<ConditionalPostprocessor::Value> values;
    for_each_method(request, [&](int64_t variable, const std::string& method) {
        values.push_back({variable, value_of(method)});
    });
    return std::make_unique<ConditionalPostprocessor>(std::move(values), masking, condition, request.inputs.variables);
}

} // namespace

std::unique_ptr<FieldProcessor> make_postprocessor(const ProcessorRequest& request)
{
    std::vector<Entry> entries;
    for_each_method(request, [&](int64_t variable, const std::string& method) {
        entries.push_back({variable, clamp_function(method, request.config)});
    });
    return std::make_unique<ColumnPostprocessor>(std::move(entries), request.inputs.variables);
}

std::unique_ptr<FieldProcessor> make_normalized_relu(const ProcessorRequest& request)
{
    const auto normalizer = request.config.get<std::string>("normalizer", "none");
    std::vector<Entry> entries;
    for_each_method(request, [&](int64_t variable, const std::string& method) {
        const auto threshold =
            normalised_threshold(require_number(method, request.config), normalizer, size_t(variable), request);
        entries.push_back({variable, [=](const at::Tensor& x) { x.clamp_min_(threshold); }});
    });
    return std::make_unique<ColumnPostprocessor>(std::move(entries), request.inputs.variables);
}

std::unique_ptr<FieldProcessor> make_conditional_zero(const ProcessorRequest& request)
{
    return make_conditional(
        request, [](const at::Tensor& x) { return x == 0; },
        [&](const std::string& method) { return require_number(method, request.config); });
}

std::unique_ptr<FieldProcessor> make_conditional_nan(const ProcessorRequest& request)
{
    return make_conditional(
        request, [](const at::Tensor& x) { return at::isnan(x); },
        [](const std::string&) { return std::numeric_limits<double>::quiet_NaN(); });
}

} // namespace gradwind::model
