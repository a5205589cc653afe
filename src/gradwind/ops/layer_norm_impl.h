// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// layer_norm on a GPU.
#pragma once
#include <ATen/core/Tensor.h>

namespace gradwind::ops::detail
{

/// By the kernels of row_mlp_cuda_kernels.h; the result has the type of x.
[[nodiscard]] bool layer_norm_cuda_takes(const at::Tensor& x, const at::Tensor& weight);
[[nodiscard]] at::Tensor layer_norm_on_cuda(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                                            double epsilon);

} // namespace gradwind::ops::detail
