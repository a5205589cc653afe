// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Orthonormal bases of many thin matrices at once; private to parallel.
#pragma once
#include <ATen/core/Tensor.h>

#include <span>

namespace gradwind::parallel::detail
{

/// Fixed random directions for orthonormalise(): the same for the same key wherever and whenever they are drawn.
/// @return [n, r] float64 on the device, columns of about unit length
[[nodiscard]] at::Tensor fixed_directions(uint64_t key, int64_t n, int64_t r, at::Device device);

/// Columns of each matrix made orthonormal by two passes of Cholesky-QR in float64 (spec data-parallel §3.5).
///
/// Directions that a matrix lacks (it is zero, or of lower rank) come from `directions`, so that a subspace that was
/// lost can grow again. Equal input gives equal bits.
/// @param matrices    [b, n, r], r <= n, finite
/// @param directions  [b, n, r] float64
/// @param result      [b, n, r] of the matrices' type
void orthonormalise(const at::Tensor& matrices, const at::Tensor& directions, const at::Tensor& result);

/// The arguments of one call.
struct ToOrthonormalise {
    at::Tensor matrices, directions, result;
};
/// All of them, on a GPU at once: each by itself takes as long as its longest matrix.
void orthonormalise(std::span<const ToOrthonormalise> all);

} // namespace gradwind::parallel::detail
