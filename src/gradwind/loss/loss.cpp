// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/loss/loss.h"

#include "gradwind/core/error.h"

#include <ATen/ATen.h>

namespace gradwind::loss
{

namespace
{

/// Loss of fields of which every rank holds a part, where the loss needs all of them: an equal share for every rank.
at::Tensor evaluate_whole(const Loss& loss, const at::Tensor& pred, const at::Tensor& target,
                          const LossContext& context, const Loss::Reduction& reduction)
{
    constexpr int64_t grid = 3, grid_of_mask = 1;
    const auto& share = *context.share;
    GRADWIND_CHECK(!context.weights.defined(), ConfigError,
                   "[loss] external weights cannot be put together for a loss that needs the whole grid");
    const auto whole = [&](const at::Tensor& part, int64_t dimension) {
        return parallel::whole_field(part, dimension, share.partition, share.group);
    };
    auto all = context;
    all.share = nullptr;
    if (all.nan_mask.defined())
        all.nan_mask = whole(all.nan_mask, grid_of_mask);
    return loss.evaluate(whole(pred, grid), whole(target, grid), all, reduction) / double(share.group.size());
}

at::Tensor result(const Loss& loss, const at::Tensor& pred, const at::Tensor& target, const LossContext& context,
                  const Loss::Reduction& reduction)
{
    const auto type = pred.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    const bool needs_whole =
        context.share && context.share->group.size() > 1 && (!loss.additive() || loss.needs_whole_grid());
    const auto value = needs_whole ? evaluate_whole(loss, pred, target, context, reduction)
                                   : loss.evaluate(pred, target, context, reduction);
    return value.to(type);
}

} // namespace

at::Tensor Loss::operator()(const at::Tensor& pred, const at::Tensor& target, const LossContext& context) const
{
    return result(*this, pred, target, context, {});
}

at::Tensor Loss::per_variable(const at::Tensor& pred, const at::Tensor& target, const LossContext& context) const
{
    return result(*this, pred, target, context, {.kind = Reduction::Kind::PerVariable});
}

at::Tensor Loss::by_range(const at::Tensor& pred, const at::Tensor& target,
                          std::span<const std::vector<int64_t>> ranges, const LossContext& context) const
{
    return result(*this, pred, target, context, {.kind = Reduction::Kind::Ranges, .ranges = ranges});
}

} // namespace gradwind::loss
