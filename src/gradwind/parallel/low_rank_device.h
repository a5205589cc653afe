// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// A step of low-rank compression by kernels of a GPU; private to parallel.
#pragma once
#include "gradwind/parallel/orthonormal.h"

#include <ATen/core/Tensor.h>

namespace gradwind::parallel::detail
{

/// m -= left right^T, p = m basis, m -= p basis^T, queued on the current stream.
/// @param m [b, n, m], rows contiguous, equal strides @param left, right [b, n, r], [b, m, r]
/// @return here and below: false, and nothing was done, where there are no kernels for this
[[nodiscard]] bool p_step_on_device(const at::Tensor& m, const at::Tensor& basis, const at::Tensor& left,
                                    const at::Tensor& right, const at::Tensor& p);
/// q = m^T basis, and the same into a copy.
[[nodiscard]] bool q_step_on_device(const at::Tensor& m, const at::Tensor& basis, const at::Tensor& q,
                                    const at::Tensor& copy);
/// m -= p q^T.
[[nodiscard]] bool subtract_on_device(const at::Tensor& m, const at::Tensor& p, const at::Tensor& q);

/// What orthonormalise() does, with its constants.
[[nodiscard]] bool orthonormalise_on_device(std::span<const ToOrthonormalise> all, double direction_weight,
                                            double relative_shift);

} // namespace gradwind::parallel::detail
