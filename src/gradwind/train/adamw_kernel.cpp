// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/adamw_kernel.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace gradwind::train::detail
{

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

} // namespace gradwind::train::detail
