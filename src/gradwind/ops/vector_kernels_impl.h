// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Products of small matrices in registers, for kernels that are compiled once for each instruction set: the source
// defines kVectorBytes and kTileRows in namespace gradwind::ops before it includes this.
#pragma once
#include "gradwind/ops/kernel_math_impl.h"

#include <string.h>

namespace gradwind::ops
{

namespace
{

template <class T>
using Vector = typename kernel_math::VectorOf<T, kVectorBytes / sizeof(T)>::Type;

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

/// Columns that `multiply` works on: two vectors of any instruction set.
constexpr int64_t padded_columns(int64_t columns)
{
    return (columns + 31) / 32 * 32;
}

/// c = start + a b, [rows, depth] times [depth, columns]. Rows of b, c and start hold padded_columns(columns); every
/// element is summed in ascending order of depth, so it does not depend on where its row stands in a block.
template <class T>
void multiply(int64_t rows, int64_t columns, int64_t depth, Strided<T> a, const T* b, int64_t b_row, Start<T> start,
              T* c, int64_t c_row)
{
    constexpr int64_t width = 2 * kVectorBytes / sizeof(T);
    for (int64_t j = 0; j < padded_columns(columns); j += width) {
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

} // namespace

} // namespace gradwind::ops
