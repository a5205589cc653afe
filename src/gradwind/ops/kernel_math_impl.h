// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What the kernels that are compiled for several instruction sets share. Uses nothing inline of the standard library:
// the linker keeps one copy of such functions, and it could be the one for a newer machine.
#pragma once
#include <math.h>
#include <stdint.h>

namespace gradwind::ops::kernel_math
{

namespace
{

/// `Lanes` numbers that are worked on together; memory need not be aligned.
template <class T, int Lanes>
struct VectorOf {
    typedef T Type __attribute__((vector_size(Lanes * sizeof(T)), aligned(sizeof(T)), may_alias));
};

/// e^x for x <= 0, to the last bit or the one beside it; e^-87 for anything smaller, NaN for NaN.
inline float exponential(float x)
{
    constexpr float round = 12582912.0F; // 1.5 * 2^23: adding it rounds to an integer, held in the last bits
    x = x < -87.0F ? -87.0F : x;
    const float shifted = x * 1.44269504F + round;
    const float n = shifted - round;
    const float r = (x - n * 0.693145752F) - n * 1.42860677e-6F;
    float p = 1.0F / 5040;
    p = p * r + 1.0F / 720;
    p = p * r + 1.0F / 120;
    p = p * r + 1.0F / 24;
    p = p * r + 1.0F / 6;
    p = p * r + 0.5F;
    p = p * r + 1.0F;
    p = p * r + 1.0F;
    const int32_t exponent = __builtin_bit_cast(int32_t, shifted) - __builtin_bit_cast(int32_t, round) + 127;
    return p * __builtin_bit_cast(float, exponent << 23);
}

inline double exponential(double x)
{
    return ::exp(x);
}

} // namespace

} // namespace gradwind::ops::kernel_math
