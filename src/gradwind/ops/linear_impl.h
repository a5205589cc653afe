// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// linear on a GPU.
#pragma once
#include "gradwind/ops/linear.h"

namespace gradwind::ops::detail
{

[[nodiscard]] bool linear_cuda_takes(const at::Tensor& x, const std::vector<LinearMap>& maps);
[[nodiscard]] std::vector<at::Tensor> linear_on_cuda(const at::Tensor& x, const std::vector<LinearMap>& maps);

} // namespace gradwind::ops::detail
