// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// edge_attention by the kernels of edge_attention_cuda_kernels.h.
#include "gradwind/ops/edge_attention_cuda_kernels.h"
#include "gradwind/ops/edge_attention_impl.h"
#include "gradwind/ops/own_function.h"
#include "gradwind/ops/row_sums_cuda.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

#include <cmath>
#include <limits>

namespace gradwind::ops::detail
{

namespace
{

using namespace edge_attention_cuda;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

enum Operand : size_t { Query, Key, Value, Features, Weight, Bias, kOperands };

struct CallState : torch::CustomClassHolder {
    EdgeIndex edges;
};

Real real_of(const at::Tensor& x)
{
    return x.scalar_type() == at::kBFloat16 ? Real::BFloat16 : Real::Float;
}

Rows rows_of(const at::Tensor& x)
{
    return {x.data_ptr(), x.stride(0)};
}

/// Heads and depth side by side, rows that begin where 16 bytes can be read at once.
at::Tensor aligned_rows(const at::Tensor& x)
{
    const bool dense = x.stride(2) == 1 && x.stride(1) == x.size(2);
    const auto bytes = int64_t(x.element_size());
    const bool aligned = x.stride(0) * bytes % 16 == 0 && x.storage_offset() * bytes % 16 == 0;
    return dense && aligned ? x : x.contiguous();
}

/// [n, heads, depth] or [n, heads, columns] with the heads first, as batched products want them.
at::Tensor heads_first(const at::Tensor& x)
{
    return x.transpose(0, 1);
}

/// In one pass, into another type.
at::Tensor transposed(const at::Tensor& x, at::ScalarType type)
{
    return at::empty({x.size(1), x.size(0)}, x.options().dtype(type).requires_grad(false)).copy_(x.t());
}

/// Features with columns of zeros behind them, as the kernels read them.
at::Tensor full_width(const at::Tensor& features)
{
    return at::constant_pad_nd(features.to(at::kFloat), {0, kMostFeatures - features.size(1)}).contiguous();
}

/// One call; keeps alive what the task points to.
class Call
{
public:
    Call(const EdgeIndex& edges, const variable_list& operands)
        : edges_(edges), operands_(operands), transposed_(transposed(operands[Weight], operands[Query].scalar_type())),
          features_(full_width(operands[Features])), bias_(operands[Bias].to(at::kFloat).contiguous())
    {
        const auto ids = [](const at::Tensor& t) { return t.data_ptr<int64_t>(); };
        const auto& q = operands[Query];
        task_ = {.real = real_of(q),
                 .n_src = edges.n_src,
                 .n_dst = edges.n_dst,
                 .n_edges = features_.size(0),
                 .heads = int(q.size(1)),
                 .depth = int(q.size(2)),
                 .features = int(operands[Features].size(1)),
                 .src = ids(edges.src),
                 .dst = ids(edges.dst),
                 .dst_ptr = ids(edges.dst_ptr),
                 .by_src = ids(edges.by_src),
                 .src_ptr = ids(edges.src_ptr),
                 .q = rows_of(q),
                 .k = rows_of(operands[Key]),
                 .v = rows_of(operands[Value]),
                 .f = features_.data_ptr<float>(),
                 .weight = transposed_.data_ptr(),
                 .bias = bias_.data_ptr<float>(),
                 .scale = float(1 / std::sqrt(double(q.size(2)))),
                 .stream = c10::cuda::getCurrentCUDAStream(q.device().index()).stream()};
    }

    [[nodiscard]] std::pair<at::Tensor, at::Tensor> forward() const
    {
        const auto& q = operands_[Query];
        auto out = at::empty({q.size(0), q.size(1) * q.size(2)}, options());
        auto lse = at::empty({q.size(0), q.size(1)}, options().dtype(at::kFloat));
        edge_attention_cuda::forward(task_, out.data_ptr(), lse.data_ptr<float>());
        return {out, lse};
    }

    [[nodiscard]] variable_list backward(const at::Tensor& out, const at::Tensor& lse, const at::Tensor& grad) const
    {
        const auto& q = operands_[Query];
        const auto heads = q.size(1), depth = q.size(2), n_features = operands_[Features].size(1);
        const auto wide = options().dtype(at::kFloat);
        variable_list result(kOperands);
        for (const auto i : {Query, Key, Value})
            result[i] = at::empty({operands_[i].size(0), heads, depth}, options());
        if (operands_[Features].requires_grad())
            result[Features] = at::empty({count_parts(task_), features_.size(0), kMostFeatures}, wide);
        auto of_values = at::empty({q.size(0), heads, kMostFeatures}, options());
        auto of_scores = at::empty_like(of_values);
        auto shares = at::empty({features_.size(0), heads, int64_t(sizeof(Share) / sizeof(float))}, wide);
        edge_attention_cuda::backward(
            task_, {.grad_out = grad.data_ptr(),
                    .out = out.data_ptr(),
                    .lse = lse.data_ptr<float>(),
                    .grad_q = result[Query].data_ptr(),
                    .grad_k = result[Key].data_ptr(),
                    .grad_v = result[Value].data_ptr(),
                    .grad_f = result[Features].defined() ? result[Features].data_ptr<float>() : nullptr,
                    .features_of_values = of_values.data_ptr(),
                    .features_of_scores = of_scores.data_ptr(),
                    .shares = reinterpret_cast<Share*>(shares.data_ptr<float>())});
        if (result[Features].defined())
            result[Features] = result[Features].sum(0).narrow(1, 0, n_features);
        const auto by_heads = grad.view({q.size(0), heads, depth});
        const auto outer = [](const at::Tensor& x, const at::Tensor& u) {
            return at::bmm(heads_first(x).transpose(1, 2), heads_first(u));
        };
        const auto weight = outer(by_heads, of_values) + outer(q, of_scores); // [heads, depth, kMostFeatures]
        result[Weight] = weight.narrow(2, 0, n_features).reshape({heads * depth, n_features});
        result[Bias] = row_sums(grad, edges_.dst_ptr);
        return result;
    }

private:
    [[nodiscard]] at::TensorOptions options() const { return operands_[Query].options().requires_grad(false); }

    const EdgeIndex& edges_;
    const variable_list& operands_;
    at::Tensor transposed_, features_, bias_;
    Task task_;
};

struct EdgeAttentionCuda : torch::autograd::Function<EdgeAttentionCuda> {
    static at::Tensor forward(AutogradContext* context, at::TensorList operands,
                              const c10::intrusive_ptr<CallState>& state)
    {
        const auto given = operands.vec();
        const OwnFunction scope(given[Query].device());
        const auto [out, lse] = Call(state->edges, given).forward();
        auto saved = given;
        saved.insert(saved.end(), {out, lse});
        context->save_for_backward(std::move(saved));
        context->saved_data["state"] = c10::IValue::make_capsule(state);
        return out;
    }

    static variable_list backward(AutogradContext* context, const variable_list& gradients)
    {
        const auto saved = context->get_saved_variables();
        const auto state = c10::static_intrusive_pointer_cast<CallState>(context->saved_data["state"].toCapsule());
        const OwnFunction scope(saved[Query].device());
        auto result = Call(state->edges, saved)
                          .backward(saved[kOperands], saved[kOperands + 1],
                                    gradients[0].to(saved[Query].scalar_type()).contiguous());
        for (size_t i = 0; i < kOperands; ++i)
            if (result[i].defined())
                result[i] = result[i].to(saved[i].scalar_type());
        result.resize(kOperands + 1);
        return result;
    }
};

} // namespace

bool edge_attention_cuda_takes(const at::Tensor& q, const EdgeTerm& e)
{
    const auto type = q.scalar_type();
    constexpr int64_t most = std::numeric_limits<int32_t>::max();
    return (type == at::kFloat || type == at::kBFloat16) && e.features.size(0) < most && q.size(0) < most &&
           takes(real_of(q), q.size(2), e.features.size(1));
}

at::Tensor edge_attention_on_cuda(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const EdgeTerm& e,
                                  const EdgeIndex& edges)
{
    auto state = c10::make_intrusive<CallState>();
    state->edges = edges;
    const auto type = q.scalar_type();
    const variable_list operands = {
        aligned_rows(q), aligned_rows(k.to(type)), aligned_rows(v.to(type)), e.features, e.weight, e.bias};
    return EdgeAttentionCuda::apply(at::TensorList(operands), state);
}

} // namespace gradwind::ops::detail
