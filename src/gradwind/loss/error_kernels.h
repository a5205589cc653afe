// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// CPU kernels behind error_sums(), private to this layer. Plain loops over rows of variables, which vectorise.
#pragma once
#include "gradwind/loss/error_sums.h"

#include <span>

namespace gradwind::loss
{

/// A run of selected variables that is contiguous in prediction and target alike.
struct Segment {
    int64_t pred = 0;     ///< first column of the prediction
    int64_t target = 0;   ///< first column of the target
    int64_t variable = 0; ///< first of the selected variables
    int64_t length = 0;
};

[[nodiscard]] std::vector<Segment> find_segments(std::span<const int64_t> pred_columns,
                                                 std::span<const int64_t> target_columns);

/// Prediction [B,T,E,N,P], target [B,T,N,D], mask [B,N,P] or null, weights by step and node; all contiguous.
template <class Scalar>
struct Field {
    const Scalar* pred = nullptr;
    const Scalar* target = nullptr;
    const Scalar* mask = nullptr;
    const double* time = nullptr;
    const double* grid = nullptr;
    std::span<const Segment> segments;
    int64_t batch = 0, steps = 0, members = 0, nodes = 0, pred_width = 0, target_width = 0, variables = 0;
};

/// sums[v] of all rows. @note threaded over blocks of fixed size, added in the order of the blocks
template <class Scalar>
void fused_sums(const Field<Scalar>& field, const ErrorSpec& spec, double* sums);

/// gradient of sum_v grad[v] sums[v] with respect to the prediction, in the selected columns.
template <class Scalar>
void fused_gradient(const Field<Scalar>& field, const ErrorSpec& spec, const double* grad, Scalar* grad_pred);

} // namespace gradwind::loss
