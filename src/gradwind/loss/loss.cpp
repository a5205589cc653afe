// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/loss/loss.h"

#include "gradwind/core/error.h"

#include <ATen/ATen.h>

namespace gradwind::loss
{

namespace
{

constexpr int64_t kGrid = 3, kGridOfMask = 1;

/// Loss of fields of which every rank holds a part, where the loss needs all of them: an equal share for every rank.
at::Tensor evaluate_whole(const Loss& loss, const at::Tensor& pred, const at::Tensor& target,
                          const LossContext& context, const Loss::Reduction& reduction)
{
    const auto& share = *context.share;
    GRADWIND_CHECK(!context.weights.defined(), ConfigError,
                   "[loss] external weights cannot be put together for a loss that needs the whole grid");
    const auto whole = [&](const at::Tensor& part, int64_t dimension) {
        return parallel::whole_field(part, dimension, share.partition, share.group);
    };
    auto all = context;
    all.share = nullptr;
    if (all.nan_mask.defined())
        all.nan_mask = whole(all.nan_mask, kGridOfMask);
    return loss.evaluate(whole(pred, kGrid), whole(target, kGrid), all, reduction) / double(share.group.size());
}

/// The part of a loss that this rank's range of the grid has, with the members of all ranks.
at::Tensor evaluate_on_range(const Loss& loss, const at::Tensor& pred, const at::Tensor& target,
                             const LossContext& context, const Loss::Reduction& reduction)
{
    GRADWIND_CHECK(!context.grid && !context.weights.defined(), ConfigError,
                   "[loss] grid slices and external weights do not go together with members on {} processes",
                   context.members->group().size());
    const auto own = context.members->own_points(pred.size(kGrid));
    auto on_range = context;
    on_range.members = nullptr;
    on_range.grid = GridSlice{own.begin, own.end()};
    if (on_range.nan_mask.defined())
        on_range.nan_mask = on_range.nan_mask.narrow(kGridOfMask, own.begin, own.size);
    return loss.evaluate(context.members->all_members(pred), target.narrow(kGrid, own.begin, own.size), on_range,
                         reduction);
}

at::Tensor result(const Loss& loss, const at::Tensor& pred, const at::Tensor& target, const LossContext& context,
                  const Loss::Reduction& reduction)
{
    const auto type = pred.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    return evaluate_part(loss, pred, target, context, reduction).to(type);
}

} // namespace

at::Tensor evaluate_part(const Loss& part, const at::Tensor& pred, const at::Tensor& target, const LossContext& context,
                         const Loss::Reduction& reduction)
{
    const bool has_members = context.members && context.members->group().size() > 1;
    const bool has_share = context.share && context.share->group.size() > 1;
    GRADWIND_CHECK(part.additive() || !has_members, ConfigError,
                   "[loss] {} is no sum over grid points, so it cannot be computed where {} processes hold the members "
                   "of an ensemble; set num_gpus_per_ensemble to num_gpus_per_model, with all members on each",
                   part.name(), has_members ? context.members->group().size() : 1);
    if (has_share && !part.additive())
        return evaluate_whole(part, pred, target, context, reduction);
    // A loss that smooths needs whole fields first; what it then compares comes here again.
    if (has_members && !part.needs_whole_grid())
        return evaluate_on_range(part, pred, target, context, reduction);
    return part.evaluate(pred, target, context, reduction);
}

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
