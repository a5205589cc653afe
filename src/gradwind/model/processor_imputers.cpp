// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// InputImputer, ConstantImputer, CopyImputer (spec §8.2).
#include "gradwind/model/processor_buffers.h"
#include "gradwind/model/processor_methods.h"

#include "gradwind/core/error.h"
#include "gradwind/core/text.h"
#include "gradwind/ops/device_constants.h"

#include <ATen/ATen.h>

#include <limits>

namespace gradwind::model
{

namespace
{

/// What fills the gaps of one variable.
struct Filling {
    int64_t variable = 0; ///< dataset position
    double value = 0;
    int64_t source = -1; ///< dataset position of the variable to copy from; -1: `value`
};

/// Whether values follow from statistics, so that a checkpoint has to keep them.
enum class Values { Configured, FromStatistics };

class Imputer final : public FieldProcessor
{
public:
    Imputer(std::vector<Filling> fillings, const VariableTable& variables, size_t position, Values values)
        : fillings_(std::move(fillings)), columns_(variables), names_(variables.names()),
          data_input_(at::tensor(variables.data_input(), at::kLong)), n_output_(variables.n_output()),
          position_(position), kind_(values), values_(at::empty({int64_t(fillings_.size())}, at::kDouble))
    {
        for (size_t i = 0; i < fillings_.size(); ++i)
            values_.data_ptr<double>()[i] = fillings_[i].value;
    }

    [[nodiscard]] std::vector<std::pair<std::string, at::Tensor>> buffers() const override
    {
        if (kind_ == Values::Configured)
            return {};
        return {{kReplacement, values_}};
    }

    void transform(const at::Tensor& x, Space space, BatchMasks& masks) const override
    {
        if (space == Space::ModelOutput) // nothing is missing in what a model made
            return;
        const auto first = at::isnan(x.select(2, 0).select(1, 0)); // [B, N, V]
        masks.missing[position_] =
            space == Space::Dataset ? first.index_select(2, ops::on_device(data_input_, x.device())) : first;
        if (space == Space::Dataset)
            add_loss_mask(first, masks);
        for (size_t i = 0; i < fillings_.size(); ++i)
            fill(x, space, fillings_[i], values_.data_ptr<double>()[i]);
    }

    void inverse(const at::Tensor& x, Space space, const BatchMasks& masks) const override
    {
        const auto found = masks.missing.find(position_);
        GRADWIND_CHECK(found != masks.missing.end(), InternalError,
                       "[processors] an imputer's inverse needs the masks of the batch's transform");
        const auto& missing = found->second;
        GRADWIND_CHECK(missing.size(0) == x.size(0) && missing.size(1) == x.size(3), ShapeError,
                       "[processors] the imputer's masks are of {} samples and {} grid points, the fields of {} and {}",
                       missing.size(0), missing.size(1), x.size(0), x.size(3));
        for (const auto& filling : fillings_) {
            const auto from = columns_(Space::ModelInput, filling.variable);
            const auto to = columns_(space, filling.variable);
            if (from >= 0 && to >= 0)
                x.select(4, to).masked_fill_(missing.select(2, from).unsqueeze(1).unsqueeze(1),
                                             std::numeric_limits<double>::quiet_NaN());
        }
    }

private:
    void fill(const at::Tensor& x, Space space, const Filling& filling, double value) const
    {
        const auto to = columns_(space, filling.variable);
        if (to < 0)
            return;
        const auto column = x.select(4, to);                           // [B, T, E, N]
        const auto gaps = at::isnan(column.select(2, 0)).unsqueeze(2); // of member 0, for all of them
        if (filling.source < 0) {
            column.masked_fill_(gaps, value);
            return;
        }
        const auto from = columns_(space, filling.source);
        const auto& name = names_[size_t(filling.variable)];
        const auto& source_name = names_[size_t(filling.source)];
        GRADWIND_CHECK(from >= 0, ConfigError, "[processors] {} is to be copied from {}, which the model does not read",
                       name, source_name);
        const auto source = x.select(4, from);
        GRADWIND_CHECK(!at::isnan(source).logical_and(gaps).any().item<bool>(), DataError,
                       "[processors] {} has NaN where it should fill {}", source_name, name);
        column.copy_(at::where(gaps, source, column));
    }

    /// Points that were imputed at the first time do not count in the loss.
    void add_loss_mask(const at::Tensor& first, BatchMasks& masks) const
    {
        auto mask = at::ones({first.size(0), first.size(1), n_output_}, first.options().dtype(at::kFloat));
        for (const auto& filling : fillings_)
            if (const auto to = columns_(Space::ModelOutput, filling.variable); to >= 0)
                mask.select(2, to).copy_(first.select(2, filling.variable).logical_not());
        masks.loss_mask = masks.loss_mask.defined() ? masks.loss_mask * mask : mask;
    }

    std::vector<Filling> fillings_;
    Columns columns_;
    std::vector<std::string> names_;
    at::Tensor data_input_;
    int64_t n_output_;
    size_t position_;
    Values kind_;
    at::Tensor values_; ///< what counts: a checkpoint's may have been copied here
};

/// @param complete sets value or source of a filling from its method
template <class Complete>
std::unique_ptr<FieldProcessor> make_imputer(const ProcessorRequest& request, Values values, const Complete& complete)
{
    const auto methods = read_methods(request.config, request.inputs.variables);
    std::vector<Filling> fillings;
    for (size_t i = 0; i < methods.by_variable.size(); ++i) {
        if (methods.by_variable[i] == "none")
            continue;
        Filling filling;
        filling.variable = int64_t(i);
        complete(methods.by_variable[i], filling);
        fillings.push_back(filling);
    }
    return std::make_unique<Imputer>(std::move(fillings), request.inputs.variables, request.position, values);
}

} // namespace

std::unique_ptr<FieldProcessor> make_input_imputer(const ProcessorRequest& request)
{
    const auto& s = request.inputs.statistics;
    const std::map<std::string, const std::vector<double>*> known = {
        {"mean", &s.mean}, {"stdev", &s.stdev}, {"minimum", &s.minimum}, {"maximum", &s.maximum}};
    return make_imputer(request, Values::FromStatistics, [&](const std::string& method, Filling& filling) {
        const auto found = known.find(method);
        GRADWIND_CHECK(found != known.end(), ConfigError,
                       "[processors] InputImputer fills with mean, stdev, minimum or maximum, not `{}`{} ({})", method,
                       did_you_mean(method, std::vector<std::string>{"mean", "stdev", "minimum", "maximum"}),
                       request.config.where());
        const auto& name = request.inputs.variables.names()[size_t(filling.variable)];
        GRADWIND_CHECK(size_t(filling.variable) < found->second->size(), DataError,
                       "[processors] the data set has no statistics of {}", name);
        filling.value = (*found->second)[size_t(filling.variable)];
    });
}

std::unique_ptr<FieldProcessor> make_constant_imputer(const ProcessorRequest& request)
{
    return make_imputer(request, Values::Configured, [&](const std::string& method, Filling& filling) {
        filling.value = require_number(method, request.config);
    });
}

std::unique_ptr<FieldProcessor> make_copy_imputer(const ProcessorRequest& request)
{
    return make_imputer(request, Values::Configured, [&](const std::string& method, Filling& filling) {
        filling.source = require_variable(method, request.inputs.variables, request.config);
    });
}

} // namespace gradwind::model
