// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Normalisation of rows.
#pragma once
#include <ATen/core/Tensor.h>

namespace gradwind::ops
{

/// (x - mean) / sqrt(variance + epsilon) * weight + bias over the last dimension.
///
/// On the CPU in float32 or float64 outside autocast by kernels of our own: they keep two numbers a row beside x, and
/// the gradients of weight and bias are summed over blocks of rows that do not depend on the number of threads, so that
/// results have the same bits for any. Rows of 128 channels and more on a GPU by kernels as well, in float32 or bf16;
/// there the result has the type of x under autocast too, which a matrix product would round it to anyway. Elsewhere by
/// torch's.
///
/// @param x [..., channels], @param weight, bias [channels]; bias may be undefined, for none
[[nodiscard]] at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                                    double epsilon);

} // namespace gradwind::ops
