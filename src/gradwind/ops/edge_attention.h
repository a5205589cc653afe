// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Attention along the edges of a graph.
#pragma once
#include "gradwind/ops/edge_index.h"

namespace gradwind::ops
{

/// What an edge adds to the key and the value of its source: e = features weight^T + bias. The vectors e are never
/// made: with few columns of features it costs less to bring the queries to the features and the weighted features
/// back.
struct EdgeTerm {
    at::Tensor features; ///< [n_edges, columns], in the order of the edges
    at::Tensor weight;   ///< [heads * depth, columns]
    at::Tensor bias;     ///< [heads * depth]
};

/// Attention of every destination over its edges, head by head (spec §4.2): with s = q_i . (k_j + e_ij) / sqrt(depth)
/// and a their softmax over the edges of i, out_i = sum over j of a_ij (v_j + e_ij); zero where no edge ends.
///
/// On the CPU one thread works on each destination (forward, gradients of q and features) and each source (gradients of
/// k and v), so that results have the same bits for any number of threads; nothing of [n_edges, heads, depth] is made,
/// and backward keeps two numbers per destination and head. bfloat16 and float16 are computed in float32.
///
/// @param q [n_dst, heads, depth], rows may be apart; @param k, v [n_src, heads, depth]
/// @return [n_dst, heads * depth], type of q
/// @gradient once, for q, k, v and all of `e`; the bias of e receives none by the scores, which it does not change
/// @throws ShapeError if shapes do not fit each other or the edges
[[nodiscard]] at::Tensor edge_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                        const EdgeTerm& e, const EdgeIndex& edges);

} // namespace gradwind::ops
