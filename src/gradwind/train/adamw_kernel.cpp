// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/adamw_kernel.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace gradwind::train::detail
{

namespace
{

// Columns whose gradient is formed at once: what AdamW reads and writes besides stays in the first cache.
constexpr int64_t kColumns = 1024;

/// Element (a, b) of x^T x for x [rows, rank].
double gram(const float* x, int64_t rows, int64_t rank, int64_t a, int64_t b)
{
    double sum = 0;
    for (int64_t i = 0; i < rows; ++i)
        sum += double(x[i * rank + a]) * double(x[i * rank + b]);
    return sum;
}

} // namespace

void adamw_range(float* __restrict parameter, float* __restrict exp_avg, float* __restrict exp_avg_sq,
                 const float* __restrict gradient, int64_t count, const AdamWFactors& factors)
{
    const AdamWFactors f = factors;
    for (int64_t i = 0; i < count; ++i) {
        const float g = std::min(std::max(gradient[i] * f.scale, -f.limit), f.limit);
        const float m = exp_avg[i] + f.one_minus_beta1 * (g - exp_avg[i]);
        const float v = exp_avg_sq[i] * f.beta2 + f.one_minus_beta2 * g * g;
        exp_avg[i] = m;
        exp_avg_sq[i] = v;
        parameter[i] = parameter[i] * f.decay - f.step_size * m / (std::sqrt(v) * f.inverse_sqrt_bc2 + f.eps);
    }
}

void adamw_rows(const AdamWPiece& piece, int64_t first, int64_t last, const AdamWFactors& factors)
{
    std::array<float, kColumns> gradient;
    for (int64_t row = first; row < last; ++row) {
        const int64_t matrix = row / piece.rows;
        const float* p = piece.p + row * piece.rank;
        const int64_t begin = matrix * piece.stride + (row - matrix * piece.rows) * piece.columns;
        for (int64_t column = 0; column < piece.columns; column += kColumns) {
            const int64_t n = std::min(kColumns, piece.columns - column);
            const float* qt = piece.qt + matrix * piece.rank * piece.columns + column;
            for (int64_t j = 0; j < n; ++j)
                gradient[size_t(j)] = p[0] * qt[j];
            for (int64_t k = 1; k < piece.rank; ++k)
                for (int64_t j = 0; j < n; ++j)
                    gradient[size_t(j)] += p[k] * qt[k * piece.columns + j];
            const int64_t at = begin + column;
            adamw_range(piece.parameter + at, piece.exp_avg + at, piece.exp_avg_sq + at, gradient.data(), n, factors);
        }
    }
}

double sum_of_squares(const float* values, int64_t count)
{
    // Independent partial sums, so that the loop vectorises with a fixed order of additions.
    constexpr int64_t kLanes = 16;
    std::array<double, kLanes> partial{};
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes)
        for (int64_t lane = 0; lane < kLanes; ++lane)
            partial[size_t(lane)] += double(values[i + lane]) * double(values[i + lane]);
    double total = 0;
    for (; i < count; ++i)
        total += double(values[i]) * double(values[i]);
    for (const double sum : partial)
        total += sum;
    return total;
}

double sum_of_squares(const AdamWPiece& piece, int64_t matrix)
{
    const float* p = piece.p + matrix * piece.rows * piece.rank;
    const float* q = piece.q + matrix * piece.columns * piece.rank;
    double total = 0;
    for (int64_t a = 0; a < piece.rank; ++a)
        for (int64_t b = 0; b <= a; ++b) {
            const double product = gram(p, piece.rows, piece.rank, a, b) * gram(q, piece.columns, piece.rank, a, b);
            total += a == b ? product : 2 * product;
        }
    return total;
}

} // namespace gradwind::train::detail
