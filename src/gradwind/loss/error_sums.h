// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Weighted sums of point errors, the inner loop of every loss: one pass forward, one pass backward.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace gradwind::loss
{

enum class ErrorKind {
    Squared,  ///< d^2
    Absolute, ///< |d|
    Huber,    ///< d^2/2 below delta, delta (|d| - delta/2) above
    LogCosh,  ///< |d| + softplus(-2|d|) - ln 2
    Crps      ///< almost-fair CRPS over the members: one error for all of them (spec §6.5)
};

enum class NanPolicy {
    Propagate,
    Ignore ///< a point where prediction (any member, for Crps) plus target is NaN counts as an error of 0
};

struct ErrorSpec {
    ErrorKind kind = ErrorKind::Squared;
    NanPolicy nans = NanPolicy::Propagate;
    double huber_delta = 1;
    double crps_alpha = 1;
    std::vector<int64_t> pred_columns;   ///< [V], columns of the prediction that count
    std::vector<int64_t> target_columns; ///< [V], the target's column of each
};

struct ErrorWeights {
    at::Tensor time;     ///< [T] or [1], double
    at::Tensor grid;     ///< [N], double
    at::Tensor nan_mask; ///< [B, N, P] by column of the prediction, or undefined
    at::Tensor point;    ///< broadcastable to [B, T, E, N, V], or undefined
};

/// Sum over batch, time, members and grid of weight x error, for every selected variable.
///
/// On the CPU without `point` weights a fused kernel reads prediction and target once, makes no temporary, and adds in
/// double over fixed blocks in a fixed order: the result does not depend on the number of threads. Elsewhere torch
/// operations do the same sum.
/// @param pred   [B, T, E, N, P], float or double (half types are widened)
/// @param target [B, T, 1, N, D], same device
/// @return       [V], double
/// @gradient     with respect to `pred` only, in one pass; 0 in columns that are not selected
/// @throws ShapeError if shapes do not fit, or for Crps with fewer than two members
[[nodiscard]] at::Tensor error_sums(const at::Tensor& pred, const at::Tensor& target, const ErrorSpec& spec,
                                    const ErrorWeights& weights);

namespace detail
{

/// The same by torch operations, on any device, differentiable in both operands.
[[nodiscard]] at::Tensor error_sums_torch(const at::Tensor& pred, const at::Tensor& target, const ErrorSpec& spec,
                                          const ErrorWeights& weights);

} // namespace detail
} // namespace gradwind::loss
