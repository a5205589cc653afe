// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The loops under edge_attention, once for each instruction set. Free of torch.
#pragma once
#include <cstdint>

namespace gradwind::ops::edge_attention_kernels
{

/// Rows of all heads, [n, heads * depth], `stride` apart.
template <class T>
struct Rows {
    T* data = nullptr;
    int64_t stride = 0;
};

/// Heads are worked on `lanes` at a time, side by side in a vector: a packed row is [blocks, depth, lanes], heads
/// beyond the last being zero. Packed weights are [blocks, depth, features, lanes].
template <class T>
struct Task {
    int64_t heads = 0, depth = 0, features = 0;
    const int64_t* src = nullptr;
    const int64_t* dst = nullptr;
    const int64_t* dst_ptr = nullptr;
    const int64_t* by_src = nullptr;
    const int64_t* src_ptr = nullptr;
    T scale = 0; ///< of scores
    Rows<const T> q;
    const T* k = nullptr;      ///< [n_src] packed rows
    const T* v = nullptr;      ///< [n_src] packed rows
    const T* f = nullptr;      ///< [n_edges, features]
    const T* weight = nullptr; ///< packed
    const T* bias = nullptr;   ///< packed row
    T* moments = nullptr;      ///< [n_dst, blocks, 2, lanes]: largest score, inverse of the sum of exponentials
    T* out = nullptr;          ///< [n_dst, heads * depth]
    // Backward only.
    Rows<const T> grad_out;
    T* grad_q = nullptr;     ///< [n_dst, heads * depth]
    T* grad_k = nullptr;     ///< [n_src, heads * depth]
    T* grad_v = nullptr;     ///< [n_src, heads * depth]
    T* grad_f = nullptr;     ///< [n_edges, features], null where none is wanted
    T* packed_q = nullptr;   ///< [n_dst] packed rows, with the scale; written for the sources
    T* packed_out = nullptr; ///< [n_dst] packed rows of grad_out; likewise
    T* shares = nullptr;     ///< [n_edges, blocks, lanes]: what the softmax gives each edge
    T* slopes = nullptr;     ///< [n_edges, blocks, lanes]: gradients of the scores
};

/// Sums of the gradients of the edge map, packed.
template <class T>
struct Sums {
    T* weight = nullptr;
    T* bias = nullptr;
};

template <class T>
struct Kernels {
    int64_t lanes = 0;
    /// Rows [first, last) to packed rows at `out`, which is the place of row 0.
    void (*pack)(const Task<T>& task, Rows<const T> rows, int64_t first, int64_t last, T* out);
    /// Destinations [first, last).
    void (*forward)(const Task<T>& task, int64_t first, int64_t last, T* scratch);
    void (*backward_destinations)(const Task<T>& task, int64_t first, int64_t last, T* scratch, const Sums<T>& sums);
    /// Sources [first, last), after all destinations.
    void (*backward_sources)(const Task<T>& task, int64_t first, int64_t last, T* scratch);

    [[nodiscard]] int64_t blocks(const Task<T>& task) const { return (task.heads + lanes - 1) / lanes; }
    [[nodiscard]] int64_t row(const Task<T>& task) const { return blocks(task) * task.depth * lanes; }
    /// Elements of scratch memory for destinations with at most `most_edges` edges.
    [[nodiscard]] int64_t scratch(const Task<T>& task, int64_t most_edges) const
    {
        return lanes * (2 * task.depth + 6 * (task.features + 16) + most_edges);
    }
};

/// The kernels for the machine that runs and a number of heads.
template <class T>
const Kernels<T>& kernels(int64_t heads);

} // namespace gradwind::ops::edge_attention_kernels
