// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/loss/multiscale_loss.h"

#include "gradwind/core/error.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace gradwind::loss
{

MultiscaleLoss::MultiscaleLoss(std::vector<Scale> scales, std::unique_ptr<Loss> inner)
    : scales_(std::move(scales)), inner_(std::move(inner))
{
    GRADWIND_ASSERT(!scales_.empty());
}

bool MultiscaleLoss::needs_whole_grid() const
{
    return inner_->needs_whole_grid() ||
           std::any_of(scales_.begin(), scales_.end(), [](const Scale& scale) { return scale.smoothing.has_value(); });
}

at::Tensor MultiscaleLoss::evaluate(const at::Tensor& pred, const at::Tensor& target, const LossContext& context,
                                    const Reduction& reduction) const
{
    GRADWIND_CHECK(!context.grid || !needs_whole_grid(), ConfigError,
                   "[loss] a MultiscaleLossWrapper with smoothing matrices needs the whole grid, not a slice of it");
    constexpr int64_t grid = 3;
    const auto* share = context.share.get();
    // Only smoothing needs the points of other ranks; what is compared is of the own ones.
    const auto whole = [&](const at::Tensor& field) {
        return share && needs_whole_grid() ? parallel::whole_field(field, grid, share->partition, share->group) : field;
    };
    const auto all_pred = whole(pred), all_target = whole(target);
    at::Tensor sum, pred_before, target_before;
    for (auto& scale : scales_) {
        const auto smooth = [&](const at::Tensor& field, const at::Tensor& all) {
            if (!scale.smoothing)
                return field;
            scale.smoothing->move_to(field.device());
            const auto smoothed = ops::project(all, *scale.smoothing);
            return share ? share->rows.of(smoothed, grid) : smoothed;
        };
        const auto pred_here = smooth(pred, all_pred), target_here = smooth(target, all_target);
        const bool coarsest = !pred_before.defined();
        const auto value = evaluate_part(*inner_, coarsest ? pred_here : pred_here - pred_before,
                                         coarsest ? target_here : target_here - target_before, context, reduction) *
                           scale.weight;
        sum = sum.defined() ? sum + value : value;
        pred_before = pred_here;
        target_before = target_here;
    }
    return sum;
}

} // namespace gradwind::loss
