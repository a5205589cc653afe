// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/loss/composite_loss.h"

#include "gradwind/core/error.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace gradwind::loss
{

CombinedLoss::CombinedLoss(std::vector<Part> parts, std::string name) : parts_(std::move(parts)), name_(std::move(name))
{
    GRADWIND_ASSERT(!parts_.empty());
}

bool CombinedLoss::additive() const
{
    return std::all_of(parts_.begin(), parts_.end(), [](const Part& part) { return part.loss->additive(); });
}

bool CombinedLoss::needs_whole_grid() const
{
    return std::any_of(parts_.begin(), parts_.end(), [](const Part& part) { return part.loss->needs_whole_grid(); });
}

bool CombinedLoss::has_scaler(ScalerAxis axis) const
{
    return std::any_of(parts_.begin(), parts_.end(), [&](const Part& part) { return part.loss->has_scaler(axis); });
}

at::Tensor CombinedLoss::evaluate(const at::Tensor& pred, const at::Tensor& target, const LossContext& context,
                                  const Reduction& reduction) const
{
    at::Tensor sum;
    for (const auto& part : parts_) {
        const auto value = evaluate_part(*part.loss, pred, target, context, reduction) * part.weight;
        sum = sum.defined() ? sum + value : value;
    }
    return sum;
}

TimeAggregateLoss::TimeAggregateLoss(std::vector<TimeAggregate> aggregates, std::unique_ptr<Loss> inner)
    : aggregates_(std::move(aggregates)), inner_(std::move(inner))
{
    GRADWIND_ASSERT(!aggregates_.empty());
}

at::Tensor TimeAggregateLoss::differences(const at::Tensor& pred, const at::Tensor& target, const LossContext& context,
                                          const Reduction& reduction) const
{
    const auto weights = inner_->has_scaler(ScalerAxis::Time) ? inner_->time_weights() : at::Tensor();
    at::Tensor sum;
    for (int64_t step = 0; step + 1 < pred.size(1); ++step) {
        const auto change = [&](const at::Tensor& x) { return x.narrow(1, step + 1, 1) - x.narrow(1, step, 1); };
        auto value = evaluate_part(*inner_, change(pred), change(target), context, reduction);
        if (weights.defined())
            value = value * weights[std::min(step, weights.numel() - 1)].item<double>();
        sum = sum.defined() ? sum + value : value;
    }
    return sum;
}

at::Tensor TimeAggregateLoss::evaluate(const at::Tensor& pred, const at::Tensor& target, const LossContext& context,
                                       const Reduction& reduction) const
{
    GRADWIND_CHECK(pred.dim() == 5 && pred.size(1) > 1, ShapeError,
                   "[loss] TimeAggregateLossWrapper needs more than one output step, got {}",
                   pred.dim() == 5 ? pred.size(1) : 0);
    auto inner = reduction;
    inner.time = Reduction::TimeScalers::LeaveOut;
    at::Tensor sum;
    for (const auto aggregate : aggregates_) {
        const auto over_time = [&](const at::Tensor& x) {
            if (aggregate == TimeAggregate::Mean)
                return x.mean(1, true);
            return aggregate == TimeAggregate::Min ? x.amin(1, true) : x.amax(1, true);
        };
        const auto value = aggregate == TimeAggregate::Diff
                               ? differences(pred, target, context, inner)
                               : evaluate_part(*inner_, over_time(pred), over_time(target), context, inner);
        sum = sum.defined() ? sum + value : value;
    }
    return sum / double(aggregates_.size());
}

} // namespace gradwind::loss
