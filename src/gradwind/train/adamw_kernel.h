// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The inner loops of AdamW on float32 memory, compiled for vectorisation.
#pragma once
#include <cstdint>

namespace gradwind::train::detail
{

/// Factors of one step, worked out in double.
struct AdamWFactors {
    float decay; ///< 1 - lr * weight_decay
    float one_minus_beta1;
    float beta2;
    float one_minus_beta2;
    float step_size;        ///< lr / (1 - beta1^t)
    float inverse_sqrt_bc2; ///< 1 / sqrt(1 - beta2^t)
    float eps;
    float scale; ///< of the gradient (clipping by norm)
    float limit; ///< of the gradient's elements (clipping by value); infinity: none
};

void adamw_range(float* parameter, float* exp_avg, float* exp_avg_sq, const float* gradient, int64_t count,
                 const AdamWFactors& factors);
/// Sum of squares in double.
[[nodiscard]] double sum_of_squares(const float* values, int64_t count);

} // namespace gradwind::train::detail
