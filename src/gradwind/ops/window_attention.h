// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Attention between rows whose positions are at most a window apart.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace gradwind::ops
{

struct WindowAttentionOptions {
    int64_t heads = 1;
    int64_t copies = 1;              ///< of the rows, which do not see each other
    int64_t window = -1;             ///< query i sees key j where |i - j| <= window; all keys if negative
    int64_t query_position = 0;      ///< position of a copy's first query among its keys, where the queries are a part
    double softcap = 0;              ///< scores s become softcap * tanh(s / softcap); 0: they stay
    std::vector<double> slopes = {}; ///< one a head: slope * |i - j| is taken off the scores; empty: nothing is
};

/// softmax(q k^T / sqrt(width)) v by heads, each query over the keys of its window (spec §5).
///
/// On the CPU in float32 and float64 outside autocast block by block with a running softmax: no row of scores is longer
/// than a block, backward computes them again. One thread works on a head, so results have the same bits for any number
/// of threads. Elsewhere by torch's operations on blocks of queries.
///
/// @param q [copies * n_queries, heads * width], heads slow among the columns
/// @param k, v [copies * n_keys, heads * width]
/// @return as q; zero for a query that sees no key
/// @gradient once, for q, k and v
/// @throws ShapeError if the operands do not fit each other or the options
[[nodiscard]] at::Tensor window_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                          const WindowAttentionOptions& options);

/// The same by torch's operations, on any device and in any precision.
[[nodiscard]] at::Tensor window_attention_by_torch(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                                   const WindowAttentionOptions& options);

/// Slopes of linear biases for a number of heads: powers of 2^(-8/n) for the largest power of two n, then odd powers of
/// 2^(-4/n) (spec §5).
[[nodiscard]] std::vector<double> alibi_slopes(int64_t heads);

} // namespace gradwind::ops
