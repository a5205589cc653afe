// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/ops/window_attention.h"

#include "gradwind/core/error.h"
#include "gradwind/core/torch_version.h"
#include "gradwind/ops/device_constants.h"
#include "gradwind/ops/window_attention_kernels.h"

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <bit>
#include <cmath>
#include <limits>

namespace gradwind::ops
{

namespace
{

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
namespace kernels = window_attention_kernels;

/// Queries of a block of torch's operations: a window's keys are then at most twice as many as each query sees.
constexpr int64_t kFewestQueries = 256;

/// The operands of a call; undefined where they do not exist.
struct Operands {
    at::Tensor q = {}, k = {}, v = {}, out = {}, log_sums = {};
    at::Tensor grad_out = {}, grad_q = {}, grad_k = {}, grad_v = {};
};

template <class T>
kernels::Task<T> task_of(const Operands& operands, const WindowAttentionOptions& options, int64_t copy, int64_t head)
{
    const auto row = operands.q.size(1), width = row / options.heads;
    const auto n_queries = operands.q.size(0) / options.copies, n_keys = operands.k.size(0) / options.copies;
    const auto at = [&](const at::Tensor& rows, int64_t n) {
        return rows.defined() ? rows.data_ptr<T>() + copy * n * row + head * width : nullptr;
    };
    kernels::Task<T> task;
    task.n_queries = n_queries;
    task.n_keys = n_keys;
    task.width = width;
    task.row = row;
    task.window = options.window;
    task.query_position = options.query_position;
    task.scale = T(1 / std::sqrt(double(width)));
    task.softcap = T(options.softcap);
    task.slope = options.slopes.empty() ? T(0) : T(options.slopes[size_t(head)]);
    task.q = at(operands.q, n_queries);
    task.k = at(operands.k, n_keys);
    task.v = at(operands.v, n_keys);
    task.out = at(operands.out, n_queries);
    task.log_sums = operands.log_sums.data_ptr<T>() + (copy * options.heads + head) * n_queries;
    task.grad_out = at(operands.grad_out, n_queries);
    task.grad_q = at(operands.grad_q, n_queries);
    task.grad_k = at(operands.grad_k, n_keys);
    task.grad_v = at(operands.grad_v, n_keys);
    return task;
}

enum class Direction { Forward, Backward };

void run(const Operands& operands, const WindowAttentionOptions& options, Direction direction)
{
    AT_DISPATCH_FLOATING_TYPES(operands.q.scalar_type(), "window_attention", [&] {
        const auto& table = kernels::kernels<scalar_t>();
        const auto kernel = direction == Direction::Forward ? table.forward : table.backward;
        at::parallel_for(0, options.copies * options.heads, 1, [&](int64_t first, int64_t last) {
            auto scratch =
                at::empty({kernels::scratch_size(task_of<scalar_t>(operands, options, 0, 0))}, operands.q.options());
            for (int64_t i = first; i < last; ++i)
                kernel(task_of<scalar_t>(operands, options, i / options.heads, i % options.heads),
                       scratch.data_ptr<scalar_t>());
        });
    });
}

struct WindowAttention : torch::autograd::Function<WindowAttention> {
    static at::Tensor forward(AutogradContext* context, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                              const WindowAttentionOptions& options)
    {
        Operands operands{.q = q.contiguous(), .k = k.contiguous(), .v = v.contiguous()};
        operands.out = at::empty_like(operands.q);
        operands.log_sums = at::empty({options.heads, q.size(0)}, q.options());
        run(operands, options, Direction::Forward);
        context->save_for_backward({operands.q, operands.k, operands.v, operands.out, operands.log_sums});
        context->saved_data["counts"] =
            std::vector<int64_t>{options.heads, options.copies, options.window, options.query_position};
        context->saved_data["softcap"] = options.softcap;
        context->saved_data["slopes"] = options.slopes;
        return operands.out;
    }

    static variable_list backward(AutogradContext* context, variable_list gradients)
    {
        const auto saved = context->get_saved_variables();
        const auto counts = context->saved_data["counts"].toIntVector();
        const WindowAttentionOptions options{.heads = counts[0],
                                             .copies = counts[1],
                                             .window = counts[2],
                                             .query_position = counts[3],
                                             .softcap = context->saved_data["softcap"].toDouble(),
                                             .slopes = context->saved_data["slopes"].toDoubleVector()};
        Operands operands{.q = saved[0], .k = saved[1], .v = saved[2], .out = saved[3], .log_sums = saved[4]};
        operands.grad_out = gradients[0].contiguous();
        operands.grad_q = at::empty_like(operands.q);
        operands.grad_k = at::empty_like(operands.k);
        operands.grad_v = at::empty_like(operands.v);
        run(operands, options, Direction::Backward);
        return {operands.grad_q, operands.grad_k, operands.grad_v, {}};
    }
};

void check(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const WindowAttentionOptions& options)
{
    const auto shape = [](const at::Tensor& x) { return fmt::format("[{}]", fmt::join(x.sizes().vec(), ", ")); };
    const bool fits = q.dim() == 2 && k.dim() == 2 && options.heads > 0 && options.copies > 0 &&
                      k.sizes() == v.sizes() && q.size(1) == k.size(1) && q.size(1) % options.heads == 0 &&
                      q.size(0) % options.copies == 0 && k.size(0) % options.copies == 0 &&
                      (options.slopes.empty() || int64_t(options.slopes.size()) == options.heads);
    GRADWIND_CHECK(
        fits, ShapeError,
        "[window attention] expected q [copies * n_queries, heads * width], k and v [copies * n_keys, heads * "
        "width] for {} copies and {} heads and a slope a head or none, found q {}, k {}, v {}, {} slopes",
        options.copies, options.heads, shape(q), shape(k), shape(v), options.slopes.size());
}

/// [copies * n, heads * width] to [copies, heads, n, width].
at::Tensor by_heads(const at::Tensor& rows, const WindowAttentionOptions& options)
{
    return rows.reshape({options.copies, rows.size(0) / options.copies, options.heads, rows.size(1) / options.heads})
        .transpose(1, 2);
}

/// Attention of queries to keys from `first_key` on, where `position` is that of the first query.
at::Tensor block_by_torch(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const WindowAttentionOptions& options, int64_t position, int64_t first_key)
{
    const auto distance = [&] {
        const auto i = at::arange(position, position + q.size(2), q.options().dtype(at::kLong));
        const auto j = at::arange(first_key, first_key + k.size(2), q.options().dtype(at::kLong));
        return (i.unsqueeze(1) - j.unsqueeze(0)).abs();
    };
    at::Tensor seen;
    if (options.window >= 0)
        seen = distance() <= options.window;
    const bool is_empty = q.numel() == 0 || k.numel() == 0;
    const bool all_see = options.window < 0 || (position + options.window >= first_key &&
                                                position + q.size(2) - 1 - options.window < first_key + k.size(2));
    if (!q.is_cpu() && !is_empty && all_see && options.softcap == 0 && options.slopes.empty())
        return fused_attention(q, k, v, seen);
    auto scores = at::matmul(q * (1 / std::sqrt(double(q.size(3)))), k.transpose(2, 3));
    if (options.softcap > 0)
        scores = options.softcap * at::tanh(scores / options.softcap);
    if (!options.slopes.empty())
        scores =
            scores - numbers_on(options.slopes, q.device()).to(scores.scalar_type()).reshape({-1, 1, 1}) * distance();
    if (seen.defined())
        scores = scores.masked_fill(~seen, -std::numeric_limits<double>::infinity());
    auto weights = at::softmax(scores, -1);
    if (seen.defined())
        weights = weights.masked_fill(~seen.any(-1, true), 0);
    return at::matmul(weights.to(v.scalar_type()), v);
}

} // namespace

at::Tensor window_attention_by_torch(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                     const WindowAttentionOptions& options)
{
    check(q, k, v, options);
    const auto queries = by_heads(q, options), keys = by_heads(k, options), values = by_heads(v, options);
    const auto n_queries = queries.size(2), n_keys = keys.size(2);
    const auto block = options.window < 0 ? n_queries : std::max(kFewestQueries, options.window);
    std::vector<at::Tensor> blocks;
    // Also without a query or a key the result comes from all operands: backward must reach what brought them here.
    for (int64_t first = 0; first == 0 || first < n_queries; first += std::max<int64_t>(block, 1)) {
        const auto count = std::min(block, n_queries - first);
        const auto position = options.query_position + first;
        const auto low = options.window < 0 ? 0 : std::clamp<int64_t>(position - options.window, 0, n_keys);
        const auto high =
            options.window < 0 ? n_keys : std::clamp<int64_t>(position + count + options.window, low, n_keys);
        blocks.push_back(block_by_torch(queries.narrow(2, first, count), keys.narrow(2, low, high - low),
                                        values.narrow(2, low, high - low), options, position, low));
    }
    const auto all = blocks.size() == 1 ? blocks.front() : at::cat(blocks, 2);
    return all.transpose(1, 2).reshape({q.size(0), q.size(1)});
}

at::Tensor window_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const WindowAttentionOptions& options)
{
    const bool own = q.is_cpu() && (q.scalar_type() == at::kFloat || q.scalar_type() == at::kDouble) &&
                     k.scalar_type() == q.scalar_type() && v.scalar_type() == q.scalar_type() &&
                     !AutocastState::current().cpu.enabled && q.numel() > 0 && k.numel() > 0;
    if (!own)
        return window_attention_by_torch(q, k, v, options);
    check(q, k, v, options);
    return WindowAttention::apply(q, k, v, options);
}

std::vector<double> alibi_slopes(int64_t heads)
{
    GRADWIND_CHECK(heads > 0, ShapeError, "[window attention] slopes need at least one head, found {}", heads);
    const auto n = int64_t(std::bit_floor(uint64_t(heads)));
    std::vector<double> slopes;
    for (int64_t h = 1; h <= n; ++h)
        slopes.push_back(std::exp2(-8.0 * double(h) / double(n)));
    for (int64_t h = 1; int64_t(slopes.size()) < heads; h += 2)
        slopes.push_back(std::exp2(-4.0 * double(h) / double(n)));
    return slopes;
}

} // namespace gradwind::ops
