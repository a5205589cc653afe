// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// AdamW on float32 memory: what the loops of a CPU and the kernels of a GPU have in common. No torch.
#pragma once
#include <math.h>

#include <cstdint>

#ifdef __CUDACC__
#define GRADWIND_HOST_DEVICE __host__ __device__
#else
#define GRADWIND_HOST_DEVICE
#endif

namespace gradwind::train::detail
{

/// What a step is to do.
struct AdamWRates {
    double lr = 0, beta1 = 0, beta2 = 0, eps = 0, weight_decay = 0;
    double clip_norm = HUGE_VAL;  ///< largest L2 norm of the gradients; infinity: any
    double clip_value = HUGE_VAL; ///< largest magnitude of an element; infinity: any
};

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

/// torch.nn.utils.clip_grad_norm_: the factor has 1e-6 added to the norm and never enlarges.
GRADWIND_HOST_DEVICE inline double clip_scale(double clip_norm, double norm)
{
    return fmin(1.0, clip_norm / (norm + 1e-6));
}

/// @param step  counted from 1 @param norm  of all gradients
GRADWIND_HOST_DEVICE inline AdamWFactors factors_of(const AdamWRates& rates, int64_t step, double norm)
{
    const double bc1 = 1.0 - pow(rates.beta1, double(step));
    const double bc2 = 1.0 - pow(rates.beta2, double(step));
    AdamWFactors f;
    f.decay = float(1.0 - rates.lr * rates.weight_decay);
    f.one_minus_beta1 = float(1.0 - rates.beta1);
    f.beta2 = float(rates.beta2);
    f.one_minus_beta2 = float(1.0 - rates.beta2);
    f.step_size = float(rates.lr / bc1);
    f.inverse_sqrt_bc2 = float(1.0 / sqrt(bc2));
    f.eps = float(rates.eps);
    f.scale = float(clip_scale(rates.clip_norm, norm));
    f.limit = float(rates.clip_value);
    return f;
}

/// Memory of one range of the arena. Dense: `count` elements and a gradient for each. Factored: `matrices` of `rows` x
/// `columns`, `stride` elements apart, whose gradients are p[k] qt[k].
struct AdamWPiece {
    float* parameter = nullptr;
    float* exp_avg = nullptr;
    float* exp_avg_sq = nullptr;
    const float* gradient = nullptr; ///< null: factored
    int64_t count = 0;
    const float* p = nullptr;  ///< [matrices, rows, rank]
    const float* q = nullptr;  ///< [matrices, columns, rank]
    const float* qt = nullptr; ///< [matrices, rank, columns], q transposed
    int64_t matrices = 0, rows = 0, columns = 0, rank = 0, stride = 0;
    int64_t shift = 0; ///< how much earlier its moments lie than it does in the arena, where only a share is held
};

void adamw_range(float* parameter, float* exp_avg, float* exp_avg_sq, const float* gradient, int64_t count,
                 const AdamWFactors& factors);
/// Rows [first, last) of all matrices of a factored piece, counted through; no gradient is written to memory.
void adamw_rows(const AdamWPiece& piece, int64_t first, int64_t last, const AdamWFactors& factors);
/// Sum of squares in double.
[[nodiscard]] double sum_of_squares(const float* values, int64_t count);
/// The same of a matrix p q^T without forming it: the sum over the products of the elements of p^T p and q^T q.
[[nodiscard]] double sum_of_squares(const AdamWPiece& piece, int64_t matrix);

} // namespace gradwind::train::detail
