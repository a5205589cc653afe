// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The loops under row_mlp, once for each instruction set. Free of torch.
#pragma once
#include <cstdint>

namespace gradwind::ops::row_mlp_kernels
{

constexpr int64_t kMaxLayers = 8;   ///< linear layers
constexpr int64_t kMaxOperands = 4; ///< of each kind

/// Columns of a row of scratch memory: a multiple of two vectors of any instruction set, and one cache line so that
/// rows below each other do not fall into the same sets of the cache.
constexpr int64_t row_stride(int64_t columns)
{
    return (columns + 31) / 32 * 32 + 16;
}

/// One linear map y = x W^T + b; columns beyond the last are zero.
template <class T>
struct Linear {
    int64_t in = 0;
    int64_t out = 0;
    const T* by_input = nullptr;  ///< [in, row_stride(out)]: W^T
    const T* by_output = nullptr; ///< [out, row_stride(in)]: W; backward only
    const T* bias = nullptr;      ///< [row_stride(out)] or null
};

/// Sums of weight gradients of one linear map.
template <class T>
struct LinearSums {
    T* weight = nullptr; ///< [out, row_stride(in)]
    T* bias = nullptr;   ///< [row_stride(out)] or null
};

template <class T>
struct Operand {
    const T* rows = nullptr;
    int64_t width = 0;
    T* gradient = nullptr; ///< null where none is wanted
};

/// Rows of a projection that are added to the first layer: that of row r is rows[index[r]].
template <class T>
struct Spread {
    const T* rows = nullptr; ///< [., row_stride(hidden)]
    const int64_t* index = nullptr;
};

/// A perceptron over rows. The first layer takes the operands side by side.
template <class T>
struct Task {
    int64_t n_layers = 0, n_operands = 0, n_spread = 0;
    Linear<T> layers[kMaxLayers];
    Operand<T> operands[kMaxOperands];
    Spread<T> spread[kMaxOperands];
    int64_t residual = -1;          ///< operand that is added to the result
    const T* norm_weight = nullptr; ///< null without a normalisation
    const T* norm_bias = nullptr;
    T epsilon = 0;
    T* out = nullptr;                      ///< [rows, width of the last layer]
    T* sums = nullptr;                     ///< [destinations, ...] or null
    const int64_t* destinations = nullptr; ///< row pointers: rows destinations[d] .. destinations[d + 1] belong to d
    const int64_t* destination_of_row = nullptr;
    // Backward only.
    const T* grad_out = nullptr;  ///< null for zero
    const T* grad_sums = nullptr; ///< null for zero
    T* grad_hidden = nullptr;     ///< [rows, row_stride(hidden)] of the first layer before its activation, or null
};

template <class T>
struct TaskSums {
    LinearSums<T> layers[kMaxLayers];
    T* norm_weight = nullptr;
    T* norm_bias = nullptr;
};

/// Rows [first, last) and, where they are summed, the destinations that they belong to.
struct Block {
    int64_t first = 0, last = 0;
    int64_t first_destination = 0, last_destination = 0;
};

/// Node rows x that a linear map takes to a projection, and the edges that used the projection.
template <class T>
struct Projection {
    Linear<T> linear;
    Operand<T> x;
    T* out = nullptr; ///< [rows, row_stride(linear.out)]
    // Backward only: gradient of projected row i is the sum of grad_hidden[order[ptr[i]]] .. [order[ptr[i + 1] - 1]].
    const T* grad_hidden = nullptr;
    const int64_t* ptr = nullptr;
    const int64_t* order = nullptr; ///< null for the identity
};

template <class T>
struct Kernels {
    void (*forward)(const Task<T>& task, const Block& block, T* scratch);
    void (*backward)(const Task<T>& task, const Block& block, T* scratch, const TaskSums<T>& sums);
    void (*project)(const Projection<T>& projection, int64_t first, int64_t last);
    void (*project_backward)(const Projection<T>& projection, int64_t first, int64_t last, T* scratch,
                             const LinearSums<T>& sums);
};

/// Elements of scratch memory that any of the kernels needs for a block of `rows` rows.
template <class T>
int64_t scratch_size(const Task<T>& task, int64_t rows)
{
    int64_t widest = 0, total = 0;
    for (int64_t i = 0; i < task.n_layers; ++i) {
        const auto in = row_stride(task.layers[i].in), out = row_stride(task.layers[i].out);
        widest = widest > in ? widest : in;
        widest = widest > out ? widest : out;
        total += 2 * out;
    }
    return rows * (total + row_stride(task.layers[0].in) + 2 * widest + 16);
}

/// The kernels for the machine that runs.
template <class T>
const Kernels<T>& kernels();

} // namespace gradwind::ops::row_mlp_kernels
