// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/loss/energy_score.h"

#include "gradwind/core/error.h"
#include "gradwind/ops/device_constants.h"

#include <ATen/ATen.h>

namespace gradwind::loss
{

namespace
{

constexpr int64_t kMembers = 2; ///< dimension of the members
constexpr int64_t kGrid = 3;
constexpr int64_t kVariable = 4;

std::vector<int64_t> dimensions(EnergyNorm norm)
{
    if (norm == EnergyNorm::Spatial)
        return {kGrid};
    return norm == EnergyNorm::Variables ? std::vector<int64_t>{kVariable} : std::vector<int64_t>{kGrid, kVariable};
}

} // namespace

EnergyScoreLoss::EnergyScoreLoss(EnergyScoreOptions options, CombinedScalers scalers)
    : options_(std::move(options)), scalers_(std::move(scalers))
{
}

EnergyScoreLoss::Weights EnergyScoreLoss::split_weights(const at::Tensor& pred, const LossContext& context,
                                                        const Reduction& reduction) const
{
    const auto ones = at::ones({1, 1, 1, 1, 1}, pred.options());
    Weights out{ones, ones};
    const auto multiply = [&](at::Tensor factor, bool in_norm) {
        auto& side = in_norm ? out.norm : out.outer;
        side = side * factor.to(pred.scalar_type());
    };
    const auto here = [&](const at::Tensor& scaler) { return ops::on_device(scaler, pred.device()); };
    const bool over_grid = options_.norm != EnergyNorm::Variables;
    const bool over_variables = options_.norm != EnergyNorm::Spatial;
    multiply(slice_weights(scalers_.grid, context, pred).reshape({1, 1, 1, -1, 1}), over_grid);
    multiply(here(scalers_.variable).reshape({1, 1, 1, 1, -1}), over_variables);
    if (reduction.time == Reduction::TimeScalers::Apply)
        multiply(here(scalers_.time).reshape({1, -1, 1, 1, 1}), false);
    if (scalers_.nan_mask && context.nan_mask.defined()) {
        const auto columns = ops::columns_on(options_.pred_columns, pred.device());
        multiply(context.nan_mask.to(pred.device()).index_select(2, columns).unsqueeze(1).unsqueeze(1), true);
    }
    return out;
}

/// sqrt(sum weights d^2) over the axes of the norm, which are kept with length 1; slope 0 where the norm is 0.
at::Tensor EnergyScoreLoss::norm_of(const at::Tensor& difference, const at::Tensor& weights,
                                    const at::Tensor& valid) const
{
    const auto axes = dimensions(options_.norm);
    const auto counted = valid.defined() ? difference.masked_fill(valid.logical_not(), 0.0) : difference;
    // A point of weight 0 counts nothing whatever it holds; scaling by the largest size keeps float32 from overflowing.
    const auto sizes = at::where(weights > 0, counted, at::zeros({}, counted.options())).abs() * weights.sqrt();
    const auto largest = sizes.detach().amax(axes, true);
    const auto scale = at::where(largest > 0, largest, at::ones_like(largest));
    const auto squares = (sizes / scale).square().sum(axes, true);
    const auto positive = squares > 0;
    const auto root = at::where(positive, squares, at::ones_like(squares)).sqrt() * scale;
    return at::where(positive, root, largest); // 0, or the NaN of the operands
}

at::Tensor EnergyScoreLoss::evaluate(const at::Tensor& pred, const at::Tensor& target, const LossContext& context,
                                     const Reduction& reduction) const
{
    GRADWIND_CHECK(pred.dim() == 5 && target.dim() == 5 && target.size(kMembers) == 1 && pred.size(kMembers) > 1,
                   ShapeError,
                   "[loss] the energy score needs a prediction of at least two members and a target of one");
    if (!additive())
        require_whole(context, scalers_.grid, pred, "this energy score");
    const bool joint = options_.norm != EnergyNorm::Spatial;
    GRADWIND_CHECK(!joint || reduction.kind != Reduction::Kind::All || context.squash == Squash::Mean, ConfigError,
                   "[loss] an energy score over variables jointly has no sum over variables");
    const auto columns = [&](const at::Tensor& x, const std::vector<int64_t>& list) {
        return x.to(pred.scalar_type()).index_select(kVariable, ops::columns_on(list, x.device()));
    };
    const auto x = columns(pred, options_.pred_columns);
    const auto y = columns(target, options_.target_columns);
    const auto weights = split_weights(x, context, reduction);
    at::Tensor valid;
    if (options_.nans == NanPolicy::Ignore)
        valid = at::isfinite(y).logical_and(at::isfinite(x).all(kMembers, true));
    const auto members = x.size(kMembers);
    auto score = norm_of(x - y, weights.norm, valid).mean(kMembers, true);
    const auto pairs = options_.form == EnergyScoreOptions::Form::Fair ? members * (members - 1) : members * members;
    for (int64_t i = 0; i + 1 < members; ++i) {
        const auto others = x.narrow(kMembers, i + 1, members - i - 1);
        score =
            score - norm_of(x.narrow(kMembers, i, 1) - others, weights.norm, valid).sum(kMembers, true) / double(pairs);
    }
    const auto n_selected = int64_t(options_.pred_columns.size());
    const auto weighted = (score * weights.outer).to(at::kDouble); // [B, T, 1, N or 1, V or 1]
    // A joint score stands beside every variable, so that its mean over variables is the score.
    const auto values =
        weighted.sum(at::IntArrayRef{0, 1, 2, 3}).expand({n_selected}) / context.samples.value_or(double(pred.size(0)));
    return reduce_variables(values, options_.pred_columns, pred.size(kVariable), context.squash, reduction);
}

} // namespace gradwind::loss
