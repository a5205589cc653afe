// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What came in bf16, in float32; private to parallel.
#pragma once
#include <ATen/core/Tensor.h>

namespace gradwind::parallel::detail
{

/// to = from, both contiguous and of one size, queued on the current stream.
void widen(const at::Tensor& from, const at::Tensor& to);

} // namespace gradwind::parallel::detail
