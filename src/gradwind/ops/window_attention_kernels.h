// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The loops under window_attention, once for each instruction set. Free of torch.
#pragma once
#include <cstdint>

namespace gradwind::ops::window_attention_kernels
{

constexpr int64_t kBlock = 64;             ///< queries and keys of a block of scores
constexpr int64_t kScoreRow = kBlock + 16; ///< distance of its rows: one cache line more, against conflicts

/// One head of one copy. Rows of every operand are `row` elements apart.
template <class T>
struct Task {
    int64_t n_queries = 0, n_keys = 0, width = 0, row = 0;
    int64_t window = -1; ///< all keys if negative
    int64_t query_position = 0;
    T scale = 1;
    T softcap = 0; ///< none if 0
    T slope = 0;
    const T *q = nullptr, *k = nullptr, *v = nullptr;
    T* out = nullptr;
    T* log_sums = nullptr; ///< [n_queries], logarithm of the sum of exponentials of a query's scores
    // Backward only.
    const T* grad_out = nullptr;
    T *grad_q = nullptr, *grad_k = nullptr, *grad_v = nullptr;
};

template <class T>
struct Kernels {
    void (*forward)(const Task<T>& task, T* scratch);
    void (*backward)(const Task<T>& task, T* scratch);
};

/// Elements of scratch memory that either kernel needs.
template <class T>
int64_t scratch_size(const Task<T>& task)
{
    const auto n_keys = (task.n_keys + kBlock - 1) / kBlock * kBlock;
    const auto width = (task.width + 31) / 32 * 32;
    return 5 * n_keys * width + kBlock * (3 * width + 2 * kScoreRow + 4);
}

/// The kernels for the machine that runs.
template <class T>
const Kernels<T>& kernels();

} // namespace gradwind::ops::window_attention_kernels
