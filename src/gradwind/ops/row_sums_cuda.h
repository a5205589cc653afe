// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Sums over rows on a GPU, in float32 and in an order that depends on shapes alone.
#pragma once
#include <ATen/core/Tensor.h>

namespace gradwind::ops
{

/// @param x [rows, columns] in float32 or bfloat16
/// @param ptr [rows + 1]; leaves rows i with ptr[i] == ptr[i + 1] out; undefined: none
/// @return [columns]
[[nodiscard]] at::Tensor row_sums(const at::Tensor& x, const at::Tensor& ptr = {});

/// Parts of several sums. @param parts [sets, parts, columns] float32 @return [sets, columns]
[[nodiscard]] at::Tensor sum_of_parts(const at::Tensor& parts);

} // namespace gradwind::ops
