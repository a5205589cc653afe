// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/torch_version.h"
#include "gradwind/ops/edge_attention_impl.h"
#include "gradwind/ops/segment.h"

#include <ATen/ATen.h>

#include <cmath>

namespace gradwind::ops::detail
{

namespace
{

/// Softmax over the edges of each destination, in at least float32. @param scores [n_edges, heads]
at::Tensor softmax_at_destination(const at::Tensor& scores, const EdgeIndex& edges)
{
    const auto counts = edges.dst_ptr.slice(0, 1) - edges.dst_ptr.slice(0, 0, -1);
    const auto largest = at::segment_reduce(scores.detach(), "max", counts, {}, {}, 0, true);
    const auto p = at::exp(scores - largest.index_select(0, edges.dst));
    return p / gather_destination(sum_at_destination(p, edges), edges);
}

} // namespace

at::Tensor edge_attention_by_torch(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const EdgeTerm& e,
                                   const EdgeIndex& edges)
{
    // The types below are chosen; autocast would add copies in float32 of everything that is summed.
    const AutocastGuard as_written({});
    const auto type = q.scalar_type();
    const auto wide = type == at::kDouble ? at::kDouble : at::kFloat;
    const auto heads = q.size(1), depth = q.size(2), n_features = e.features.size(1);
    if (edges.n_edges() == 0) // which torch's reduction by segments does not promise to take
        return at::zeros({q.size(0), heads * depth}, q.options().requires_grad(false));
    const auto features = e.features.to(type);
    const auto weight = e.weight.to(type).view({heads, depth, n_features});
    const auto rows = [](const at::Tensor& x) { return x.flatten(1); };
    const auto by_heads = [&](const at::Tensor& x) { return x.view({x.size(0), heads, x.size(1) / heads}); };

    // Queries as the features see them, [n_dst, heads, columns].
    const auto u = at::bmm(q.transpose(0, 1), weight).transpose(0, 1);
    const auto products = gather_destination(rows(q), edges) * gather_source(rows(k), edges);
    const auto of_features = by_heads(gather_destination(rows(u), edges)) * features.unsqueeze(1);
    const auto scores = (by_heads(products).sum(-1, false, wide) + of_features.sum(-1, false, wide)) /
                        std::sqrt(double(depth)); // [n_edges, heads]
    const auto shares = softmax_at_destination(scores, edges);
    const auto sum = [&](const at::Tensor& x) { return sum_at_destination(x.to(wide).flatten(1), edges).to(type); };
    const auto narrow = shares.to(type).unsqueeze(2);
    const auto values = sum(narrow * by_heads(gather_source(rows(v), edges)));
    const auto weighted = sum(narrow * features.unsqueeze(1)).view({edges.n_dst, heads, n_features});
    const auto of_edges = at::bmm(weighted.transpose(0, 1), weight.transpose(1, 2)).transpose(0, 1);
    const auto reached = edges.dst_ptr.slice(0, 1).gt(edges.dst_ptr.slice(0, 0, -1)).unsqueeze(1).to(type);
    return values + rows(of_edges) + reached * e.bias.to(type);
}

} // namespace gradwind::ops::detail
