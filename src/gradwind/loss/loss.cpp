// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/loss/loss.h"

#include <ATen/ATen.h>

namespace gradwind::loss
{

namespace
{

at::Tensor result(const Loss& loss, const at::Tensor& pred, const at::Tensor& target, const LossContext& context,
                  const Loss::Reduction& reduction)
{
    const auto type = pred.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    return loss.evaluate(pred, target, context, reduction).to(type);
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
