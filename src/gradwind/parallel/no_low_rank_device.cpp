// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Stands in for low_rank_device.cpp and widen_device.cpp in a build without CUDA.
#include "gradwind/parallel/low_rank_device.h"
#include "gradwind/parallel/widen.h"

#include <ATen/ATen.h>

namespace gradwind::parallel::detail
{

bool p_step_on_device(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&)
{
    return false;
}

bool q_step_on_device(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&)
{
    return false;
}

bool subtract_on_device(const at::Tensor&, const at::Tensor&, const at::Tensor&)
{
    return false;
}

bool orthonormalise_on_device(std::span<const ToOrthonormalise>, double, double)
{
    return false;
}

void widen(const at::Tensor& from, const at::Tensor& to)
{
    to.copy_(from);
}

} // namespace gradwind::parallel::detail
