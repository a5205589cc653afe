// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/verify/tensor_error.h"

#include <ATen/ATen.h>

#include <limits>

namespace gradwind::verify
{

double relative_error(const at::Tensor& value, const at::Tensor& expected)
{
    if (!value.defined() || value.numel() != expected.numel())
        return std::numeric_limits<double>::infinity();
    auto a = value.detach().to(at::kCPU, at::kDouble).reshape({-1});
    auto b = expected.detach().to(at::kCPU, at::kDouble).reshape({-1});
    const auto both_nan = at::isnan(a).logical_and(at::isnan(b));
    a = a.masked_fill(both_nan, 0.0);
    b = b.masked_fill(both_nan, 0.0);
    const auto size = b.norm().item<double>();
    const auto distance = (a - b).norm().item<double>();
    return size > 0 ? distance / size : distance;
}

} // namespace gradwind::verify
