// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The loops of edge_attention on a GPU. Free of torch.
//
// A warp works on some heads of one destination (or source), 512 bytes of its row: the lanes that share a head add up
// their products, the softmax runs along with the edges. Nothing is added by several warps, so results do not depend on
// timing.
#pragma once
#include <cstdint>

namespace gradwind::ops::edge_attention_cuda
{

enum class Real { Float, BFloat16 };

/// Columns that edge features, and what they are multiplied by, are given.
constexpr int kMostFeatures = 16;

/// Rows of [heads * depth] elements, `stride` elements apart.
struct Rows {
    const void* data = nullptr;
    int64_t stride = 0;
};

struct Task {
    Real real = Real::Float;
    int64_t n_src = 0, n_dst = 0, n_edges = 0;
    int heads = 0, depth = 0, features = 0;
    const int64_t *src = nullptr, *dst = nullptr, *dst_ptr = nullptr, *by_src = nullptr, *src_ptr = nullptr;
    Rows q, k, v;
    const float* f = nullptr;     ///< [n_edges, kMostFeatures], zero beyond the features
    const void* weight = nullptr; ///< [features, heads * depth], the transposed edge map, type of the rows
    const float* bias = nullptr;  ///< [heads * depth]
    float scale = 0;
    void* stream = nullptr; ///< cudaStream_t
};

/// Whether the kernels are made for such rows. Rows and edges are fewer than 2^31, and so are the columns of a row.
[[nodiscard]] bool takes(Real real, int64_t depth, int64_t features);

/// Parts of a row, each the work of another warp.
[[nodiscard]] int64_t count_parts(const Task& task);

/// @param out [n_dst, heads * depth] @param lse [n_dst, heads]: logarithm of the sum of exponentials
void forward(const Task& task, void* out, float* lse);

/// What an edge has of its destination's attention, and the gradient of its product of query and key.
struct alignas(8) Share {
    float value, slope;
};

struct Backward {
    const void* grad_out = nullptr; ///< [n_dst, heads * depth]
    const void* out = nullptr;      ///< of forward
    const float* lse = nullptr;     ///< of forward
    void* grad_q = nullptr;         ///< [n_dst, heads * depth]
    void* grad_k = nullptr;         ///< [n_src, heads * depth]
    void* grad_v = nullptr;         ///< [n_src, heads * depth]
    float* grad_f = nullptr; ///< [parts, n_edges, kMostFeatures], to be summed over the parts; null if not wanted
    void* features_of_values = nullptr; ///< [n_dst, heads, kMostFeatures]: sum of shares times features
    void* features_of_scores = nullptr; ///< the same of the scores' gradients
    Share* shares = nullptr;            ///< [n_edges, heads], work space
};
void backward(const Task& task, const Backward& backward);

} // namespace gradwind::ops::edge_attention_cuda
