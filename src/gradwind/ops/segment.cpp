// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/ops/segment.h"

#include "gradwind/core/error.h"

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

namespace gradwind::ops
{

namespace
{

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

template <class T>
void segment_sum_cpu(const at::Tensor& rows, const at::Tensor& ptr, const at::Tensor& order, at::Tensor& out)
{
    const auto channels = rows.size(1);
    const auto* in = rows.data_ptr<T>();
    const auto* begin = ptr.data_ptr<int64_t>();
    const auto* position = order.defined() ? order.data_ptr<int64_t>() : nullptr;
    auto* result = out.data_ptr<T>();
    at::parallel_for(0, out.size(0), 64, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) {
            auto* sum = result + i * channels;
            std::fill(sum, sum + channels, T(0));
            for (int64_t k = begin[i]; k < begin[i + 1]; ++k) {
                const auto* row = in + (position ? position[k] : k) * channels;
                for (int64_t c = 0; c < channels; ++c)
                    sum[c] += row[c];
            }
        }
    });
}

enum class Side { Source, Destination };

/// Rows by index forward, segment sums backward.
struct GatherRows : torch::autograd::Function<GatherRows> {
    static at::Tensor forward(AutogradContext* context, const at::Tensor& nodes, const EdgeIndex& edges, Side side)
    {
        if (side == Side::Source)
            context->save_for_backward({edges.src, edges.src_ptr, edges.by_src});
        else
            context->save_for_backward({edges.dst, edges.dst_ptr, {}});
        return nodes.index_select(0, side == Side::Source ? edges.src : edges.dst);
    }
    static variable_list backward(AutogradContext* context, variable_list gradients)
    {
        const auto saved = context->get_saved_variables();
        return {segment_sum(gradients[0], saved[1], saved[2], saved[0]), {}, {}};
    }
};

struct PickRows : torch::autograd::Function<PickRows> {
    static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& rows)
    {
        context->save_for_backward({rows});
        context->saved_data["n"] = x.size(0);
        return x.index_select(0, rows);
    }
    static variable_list backward(AutogradContext* context, variable_list gradients)
    {
        const auto& gradient = gradients[0];
        auto all = at::zeros({context->saved_data["n"].toInt(), gradient.size(1)}, gradient.options());
        return {all.index_copy_(0, context->get_saved_variables()[0], gradient), {}};
    }
};

struct SumRows : torch::autograd::Function<SumRows> {
    static at::Tensor forward(AutogradContext* context, const at::Tensor& rows, const at::Tensor& index,
                              const at::Tensor& ptr)
    {
        context->save_for_backward({index});
        return segment_sum(rows, ptr, {}, index);
    }
    static variable_list backward(AutogradContext* context, variable_list gradients)
    {
        return {gradients[0].index_select(0, context->get_saved_variables()[0]), {}, {}};
    }
};

} // namespace

at::Tensor segment_sum(const at::Tensor& rows, const at::Tensor& ptr, const at::Tensor& order,
                       const at::Tensor& segment_of_row)
{
    const auto n_segments = ptr.size(0) - 1;
    if (!rows.is_cpu())
        return at::zeros({n_segments, rows.size(1)}, rows.options()).index_add_(0, segment_of_row, rows);
    const auto dense = rows.contiguous();
    auto out = at::empty({n_segments, rows.size(1)}, rows.options());
    AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, rows.scalar_type(), "segment_sum",
                                    [&] { segment_sum_cpu<scalar_t>(dense, ptr, order, out); });
    return out;
}

at::Tensor pick_rows(const at::Tensor& x, const at::Tensor& rows)
{
    return PickRows::apply(x, rows);
}

at::Tensor gather_source(const at::Tensor& nodes, const EdgeIndex& edges)
{
    GRADWIND_CHECK(nodes.dim() == 2 && nodes.size(0) == edges.n_src, ShapeError,
                   "[gather_source] expected nodes of [{}, channels] (n_src), got {} rows", edges.n_src, nodes.size(0));
    return GatherRows::apply(nodes, edges, Side::Source);
}

at::Tensor gather_destination(const at::Tensor& nodes, const EdgeIndex& edges)
{
    GRADWIND_CHECK(nodes.dim() == 2 && nodes.size(0) == edges.n_dst, ShapeError,
                   "[gather_destination] expected nodes of [{}, channels] (n_dst), got {} rows", edges.n_dst,
                   nodes.size(0));
    return GatherRows::apply(nodes, edges, Side::Destination);
}

at::Tensor sum_at_destination(const at::Tensor& rows, const EdgeIndex& edges)
{
    GRADWIND_CHECK(rows.dim() == 2 && rows.size(0) == edges.n_edges(), ShapeError,
                   "[sum_at_destination] expected rows of [{}, channels] (n_edges), got {} rows", edges.n_edges(),
                   rows.size(0));
    return SumRows::apply(rows, edges.dst, edges.dst_ptr);
}

} // namespace gradwind::ops
