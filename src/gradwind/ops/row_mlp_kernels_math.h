// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What the loops of row_mlp_kernels_impl.h are made of: products of small matrices, GELU, normalisation. Included only
// there, under the same rules.
#include "gradwind/ops/row_mlp_kernels.h"

#include <math.h>

namespace gradwind::ops::row_mlp_kernels
{

namespace
{

typedef float FloatVector __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));
typedef double DoubleVector __attribute__((vector_size(kVectorBytes), aligned(8), may_alias));

template <class T>
struct VectorOf;
template <>
struct VectorOf<float> {
    using Type = FloatVector;
};
template <>
struct VectorOf<double> {
    using Type = DoubleVector;
};
template <class T>
using Vector = typename VectorOf<T>::Type;

/// A matrix by its element (0, 0) and the distances between rows and columns.
template <class T>
struct Strided {
    const T* data;
    int64_t row, column;
};

/// Where a product starts: zero, one row for all (row = 0) or a matrix.
template <class T>
struct Start {
    const T* data = nullptr;
    int64_t row = 0;
};

/// `Rows` rows and two vectors of columns of start + a b, kept in registers.
template <class T, int Rows>
inline void multiply_tile(int64_t depth, Strided<T> a, const T* b, int64_t b_row, Start<T> start, T* c, int64_t c_row)
{
    using V = Vector<T>;
    constexpr int64_t lanes = kVectorBytes / sizeof(T);
    V sum[Rows][2];
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) {
        sum[i][0] = start.data ? *(const V*)(start.data + i * start.row) : V{};
        sum[i][1] = start.data ? *(const V*)(start.data + i * start.row + lanes) : V{};
    }
    for (int64_t k = 0; k < depth; ++k) {
        const V left = *(const V*)(b + k * b_row), right = *(const V*)(b + k * b_row + lanes);
        const T* column = a.data + k * a.column;
#pragma GCC unroll 16
        for (int i = 0; i < Rows; ++i) {
            const T factor = column[i * a.row];
            sum[i][0] += factor * left;
            sum[i][1] += factor * right;
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) {
        *(V*)(c + i * c_row) = sum[i][0];
        *(V*)(c + i * c_row + lanes) = sum[i][1];
    }
}

template <class T, int Rows>
inline void multiply_last_rows(int64_t rows, int64_t depth, Strided<T> a, const T* b, int64_t b_row, Start<T> start,
                               T* c, int64_t c_row)
{
    if constexpr (Rows > 0) {
        if (rows == Rows)
            multiply_tile<T, Rows>(depth, a, b, b_row, start, c, c_row);
        else
            multiply_last_rows<T, Rows - 1>(rows, depth, a, b, b_row, start, c, c_row);
    }
}

/// c = start + a b, [rows, depth] times [depth, columns]. Rows of b, c and start are padded (row_stride); every element
/// is summed in ascending order of depth, so it does not depend on where its row stands in a block.
template <class T>
void multiply(int64_t rows, int64_t columns, int64_t depth, Strided<T> a, const T* b, int64_t b_row, Start<T> start,
              T* c, int64_t c_row)
{
    constexpr int64_t width = 2 * kVectorBytes / sizeof(T);
    for (int64_t j = 0; j < row_stride(columns) - 16; j += width) {
        int64_t i = 0;
        const auto from = [&](int64_t row) {
            return Start<T>{start.data ? start.data + row * start.row + j : nullptr, start.row};
        };
        for (; i + kTileRows <= rows; i += kTileRows)
            multiply_tile<T, kTileRows>(depth, {a.data + i * a.row, a.row, a.column}, b + j, b_row, from(i),
                                        c + i * c_row + j, c_row);
        multiply_last_rows<T, kTileRows - 1>(rows - i, depth, {a.data + i * a.row, a.row, a.column}, b + j, b_row,
                                             from(i), c + i * c_row + j, c_row);
    }
}

/// e^x for x in [-87, 0], to the last bit or the one beside it.
inline float exponential(float x)
{
    constexpr float round = 12582912.0F; // 1.5 * 2^23: adding it rounds to an integer, held in the last bits
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

/// The normal distribution: `mass` below x and `density` at x.
template <class T>
struct Normal {
    T mass, density;
};

/// Near 0 an odd polynomial, elsewhere density times a polynomial of 1 / (1 + 0.35 |x|), both fitted for the least
/// relative error: `mass` is within 1.2 units in the last place of 0.5, and relatively within 4e-7 in the lower tail
/// (where torch's float32 has lost all digits from -5.5 on).
inline Normal<float> normal(float x)
{
    const float size = __builtin_fabsf(x);
    const float squared = x * x;
    float centre = 4.115556e-07F;
    centre = centre * squared - 8.718302e-06F;
    centre = centre * squared + 0.000114356386F;
    centre = centre * squared - 0.0011864884F;
    centre = centre * squared + 0.009973241F;
    centre = centre * squared - 0.06649034F;
    centre = centre * squared + 0.3989423F;
    const float exponent = -0.5F * squared;
    const float bell = exponential(exponent > -87.0F ? exponent : -87.0F);
    const float u = 1.0F / (1.0F + 0.35F * size);
    float tail = 0.048000164F;
    tail = tail * u - 0.121639095F;
    tail = tail * u + 0.055726092F;
    tail = tail * u + 0.024940312F;
    tail = tail * u + 0.091794685F;
    tail = tail * u + 0.12217464F;
    tail = tail * u + 0.13964354F;
    tail = tail * u + 0.1396299F;
    tail = tail * u * bell;
    const float outer = x < 0 ? tail : 1.0F - tail;
    return {size < 1.5F ? 0.5F + x * centre : outer, 0.39894228F * bell};
}

inline Normal<double> normal(double x)
{
    return {0.5 * ::erfc(-0.70710678118654752440 * x), 0.39894228040143267794 * ::exp(-0.5 * x * x)};
}

/// GELU in place.
template <class T>
void activate(T* z, int64_t rows, int64_t columns, int64_t row)
{
    for (int64_t i = 0; i < rows; ++i) {
        T* x = z + i * row;
#pragma omp simd
        for (int64_t c = 0; c < columns; ++c)
            x[c] *= normal(x[c]).mass;
    }
}

/// GELU in place and its slope.
template <class T>
void activate_with_slope(T* z, T* slope, int64_t rows, int64_t columns, int64_t row)
{
    for (int64_t i = 0; i < rows; ++i) {
        T* x = z + i * row;
        T* d = slope + i * row;
#pragma omp simd
        for (int64_t c = 0; c < columns; ++c) {
            const T value = x[c];
            const auto at = normal(value);
            d[c] = at.mass + value * at.density;
            x[c] = value * at.mass;
        }
    }
}

/// (x - mean) / sqrt(variance + epsilon) in place; returns the factor.
template <class T>
inline T normalise(T* x, int64_t n, T epsilon)
{
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < n; ++c)
        sum += x[c];
    const T mean = sum / T(n);
    T squares = 0;
#pragma omp simd reduction(+ : squares)
    for (int64_t c = 0; c < n; ++c)
        squares += (x[c] - mean) * (x[c] - mean);
    const T scale = T(1) / T(::sqrt(squares / T(n) + epsilon));
#pragma omp simd
    for (int64_t c = 0; c < n; ++c)
        x[c] = (x[c] - mean) * scale;
    return scale;
}

} // namespace

} // namespace gradwind::ops::row_mlp_kernels
