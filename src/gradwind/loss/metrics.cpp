// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/loss/metrics.h"

#include "gradwind/core/error.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace gradwind::loss
{

namespace
{

struct Range {
    std::string name;
    std::vector<int64_t> columns;
};

std::vector<Range> find_ranges(const VariableGroups& groups, const std::vector<std::string>& outputs,
                               const std::vector<std::string>& listed)
{
    std::vector<Range> out;
    const auto range = [&](const std::string& name) -> Range& {
        const auto found = std::find_if(out.begin(), out.end(), [&](const Range& r) { return r.name == name; });
        return found != out.end() ? *found : out.emplace_back(Range{name, {}});
    };
    std::vector<int64_t> all;
    for (int64_t column = 0; column < int64_t(outputs.size()); ++column) {
        const auto& name = outputs[size_t(column)];
        const auto place = groups.place(name);
        range(place.group + "_" + place.param).columns.push_back(column);
        if (std::find(listed.begin(), listed.end(), name) != listed.end())
            range(name).columns = {column};
        all.push_back(column);
    }
    range("all").columns = all;
    return out;
}

} // namespace

ValidationMetrics::ValidationMetrics(const Config& validation_metrics, const Config& scalers,
                                     const Config& variable_groups, const LossInputs& inputs,
                                     const MetricsOptions& options)
    : rollout_steps_(options.rollout_steps)
{
    const VariableGroups groups(variable_groups, inputs.variables_metadata);
    const ScalerSet scaler_set(scalers, groups, inputs);
    const auto keys = validation_metrics.keys();
    const auto items = validation_metrics.items();
    for (size_t i = 0; i < keys.size(); ++i) {
        metrics_.push_back({keys[i], build_loss(items[i], scaler_set)});
        GRADWIND_CHECK(!metrics_.back().loss->has_scaler(ScalerAxis::Variable), ConfigError,
                       "[metrics] metric `{}` has a scaler along the variables; errors in physical units cannot be "
                       "scaled so ({})",
                       keys[i], items[i].where());
    }
    const auto ranges = find_ranges(groups, inputs.variables.output_names(), options.variables);
    for (const auto& range : ranges)
        ranges_.push_back(range.columns);
    for (int64_t step = 1; step <= rollout_steps_; ++step)
        for (const auto& metric : metrics_)
            for (const auto& range : ranges)
                names_.push_back(
                    fmt::format("val_{0}_{1}_metric/{0}/{2}/{3}", options.dataset, metric.name, range.name, step));
}

MetricSums ValidationMetrics::zero() const
{
    return {std::vector<double>(names_.size() + 1, 0.0)};
}

void ValidationMetrics::add(MetricSums& sums, int64_t step, const at::Tensor& pred, const at::Tensor& target,
                            const LossContext& context) const
{
    GRADWIND_ASSERT(step >= 0 && step < rollout_steps_ && sums.values.size() == names_.size() + 1);
    const at::NoGradGuard no_grad;
    const auto samples = double(pred.size(0));
    auto* out = sums.values.data() + size_t(step) * metrics_.size() * ranges_.size();
    for (const auto& metric : metrics_) {
        const auto values = metric.loss->by_range(pred, target, ranges_, context).to(at::kCPU, at::kDouble);
        const auto* value = values.data_ptr<double>();
        for (size_t r = 0; r < ranges_.size(); ++r)
            *out++ += samples * value[r];
    }
    // A model group holds each sample once, whatever the number of its slices.
    if (step == 0 && (!context.grid || context.grid->begin == 0))
        sums.values.back() += samples;
}

std::vector<double> ValidationMetrics::means(const MetricSums& sums) const
{
    const auto samples = sums.values.back();
    GRADWIND_CHECK(samples > 0, DataError, "[metrics] no sample was validated");
    std::vector<double> out(sums.values.begin(), sums.values.end() - 1);
    for (auto& value : out)
        value /= samples;
    return out;
}

std::string validation_loss_name(const Loss& loss, const std::string& dataset)
{
    return fmt::format("val_{}_{}_loss", dataset, loss.name());
}

RmseTable::RmseTable(int64_t n_variables, at::Tensor cell_weights)
    : squares_(at::zeros({n_variables}, at::kDouble)), weights_(at::zeros({n_variables}, at::kDouble)),
      cell_weights_(std::move(cell_weights))
{
}

void RmseTable::add(const at::Tensor& forecast, const at::Tensor& truth)
{
    GRADWIND_CHECK(forecast.sizes() == truth.sizes() && forecast.dim() >= 2 && forecast.size(-1) == squares_.numel(),
                   ShapeError, "[metrics] forecast [{}] and truth [{}] must have the same shape, last {}",
                   fmt::join(forecast.sizes().vec(), ", "), fmt::join(truth.sizes().vec(), ", "), squares_.numel());
    const auto difference = forecast.to(at::kCPU, at::kDouble) - truth.to(at::kCPU, at::kDouble);
    const auto valid = at::isnan(difference).logical_not();
    auto weights = valid.to(at::kDouble);
    if (cell_weights_.defined())
        weights = weights * cell_weights_.to(at::kCPU, at::kDouble).reshape({-1, 1});
    const auto squares = difference.masked_fill(valid.logical_not(), 0.0).square() * weights;
    squares_ += squares.reshape({-1, squares_.numel()}).sum(0);
    weights_ += weights.reshape({-1, squares_.numel()}).sum(0);
}

std::vector<double> RmseTable::values() const
{
    const auto rmse = (squares_ / weights_).sqrt();
    return {rmse.data_ptr<double>(), rmse.data_ptr<double>() + rmse.numel()};
}

} // namespace gradwind::loss
