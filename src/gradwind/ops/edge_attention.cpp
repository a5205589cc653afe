// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/ops/edge_attention.h"

#include "gradwind/core/error.h"
#include "gradwind/ops/edge_attention_impl.h"
#include "gradwind/ops/edge_attention_kernels.h"
#include "gradwind/ops/parts.h"

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

#include <cmath>

namespace gradwind::ops
{

namespace
{

using namespace edge_attention_kernels;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Destinations or sources that a thread takes at a time.
constexpr int64_t kBlockNodes = 32;

enum Operand : size_t { Query, Key, Value, Features, Weight, Bias, kOperands };

struct CallState : torch::CustomClassHolder {
    EdgeIndex edges;
    int64_t most_edges = 0; ///< of one destination
};

int64_t most_edges(const EdgeIndex& edges)
{
    const auto* ptr = edges.dst_ptr.data_ptr<int64_t>();
    int64_t most = 0;
    for (int64_t i = 0; i < edges.n_dst; ++i)
        most = std::max(most, ptr[i + 1] - ptr[i]);
    return most;
}

template <class T>
class Call
{
public:
    Call(const CallState& state, const variable_list& operands) : state_(state), operands_(operands)
    {
        const auto& edges = state.edges;
        const auto of = [](const at::Tensor& t) { return t.template data_ptr<int64_t>(); };
        task_.heads = operands[Query].size(1);
        task_.depth = operands[Query].size(2);
        task_.features = operands[Features].size(1);
        task_.src = of(edges.src);
        task_.dst = of(edges.dst);
        task_.dst_ptr = of(edges.dst_ptr);
        task_.by_src = of(edges.by_src);
        task_.src_ptr = of(edges.src_ptr);
        task_.scale = T(1 / std::sqrt(double(task_.depth)));
        task_.q = rows(operands[Query]);
        task_.f = operands[Features].template data_ptr<T>();
        width_ = task_.heads * task_.depth;
        blocks_ = kernels_.blocks(task_);
        task_.k = pack(operands[Key]);
        task_.v = pack(operands[Value]);
        pack_map();
    }

    /// The result and what backward needs of the softmax.
    [[nodiscard]] std::pair<at::Tensor, at::Tensor> forward()
    {
        const auto n = state_.edges.n_dst;
        auto out = at::empty({n, width_}, options());
        auto moments = at::empty({n, blocks_, 2, kernels_.lanes}, options());
        task_.out = out.template data_ptr<T>();
        task_.moments = moments.template data_ptr<T>();
        for_each_block(n,
                       [&](int64_t first, int64_t last, T* scratch) { kernels_.forward(task_, first, last, scratch); });
        return {out, moments};
    }

    [[nodiscard]] variable_list backward(const at::Tensor& moments, const at::Tensor& grad)
    {
        const auto& edges = state_.edges;
        const auto row = kernels_.row(task_);
        variable_list result(kOperands);
        for (const auto i : {Query, Key, Value})
            result[i] = at::empty({operands_[i].size(0), task_.heads, task_.depth}, options());
        const auto data = [&](Operand i) { return result[i].template data_ptr<T>(); };
        if (operands_[Features].requires_grad()) {
            result[Features] = at::empty(operands_[Features].sizes(), options());
            task_.grad_f = data(Features);
        }
        task_.moments = moments.template data_ptr<T>();
        task_.grad_out = {grad.template data_ptr<T>(), grad.stride(0)};
        task_.grad_q = data(Query);
        task_.grad_k = data(Key);
        task_.grad_v = data(Value);
        task_.packed_q = keep(edges.n_dst * row);
        task_.packed_out = keep(edges.n_dst * row);
        task_.shares = keep(edges.n_edges() * blocks_ * kernels_.lanes);
        task_.slopes = keep(edges.n_edges() * blocks_ * kernels_.lanes);
        const auto sums = backward_destinations();
        for_each_block(edges.n_src, [&](int64_t first, int64_t last, T* scratch) {
            kernels_.backward_sources(task_, first, last, scratch);
        });
        unpack_map(sums, result);
        return result;
    }

private:
    using Memory = std::unique_ptr<T[]>;
    static Memory memory(int64_t size) { return Memory(new T[size_t(size)]); }
    [[nodiscard]] at::TensorOptions options() const { return operands_[Query].options().requires_grad(false); }
    static Rows<const T> rows(const at::Tensor& x) { return {x.template data_ptr<T>(), x.stride(0)}; }

    T* keep(int64_t size)
    {
        kept_.push_back(memory(size));
        return kept_.back().get();
    }

    template <class Work>
    void for_each_block(int64_t n, const Work& work)
    {
        for_each_part((n + kBlockNodes - 1) / kBlockNodes, [&] { return scratch(); },
                      [&](int64_t b, const Memory& own) {
                          work(b * kBlockNodes, std::min(n, (b + 1) * kBlockNodes), own.get());
                      });
    }

    Memory scratch() { return memory(kernels_.scratch(task_, state_.most_edges)); }

    const T* pack(const at::Tensor& x)
    {
        const auto n = x.size(0);
        auto* out = keep(n * kernels_.row(task_));
        for_each_part((n + kBlockNodes - 1) / kBlockNodes, [&](int64_t b) {
            kernels_.pack(task_, rows(x), b * kBlockNodes, std::min(n, (b + 1) * kBlockNodes), out);
        });
        return out;
    }

    /// Calls `visit(packed, row)` for every row of the edge map: where its first column is when packed.
    template <class Visit>
    void for_each_row(const Visit& visit) const
    {
        for (int64_t h = 0; h < task_.heads; ++h)
            for (int64_t c = 0; c < task_.depth; ++c)
                visit((h / kernels_.lanes * task_.depth + c) * kernels_.lanes, h % kernels_.lanes, h * task_.depth + c);
    }

    void pack_map()
    {
        const auto n = task_.features, lanes = kernels_.lanes, row = kernels_.row(task_);
        auto* weight = keep(row * n);
        auto* bias = keep(row);
        std::fill_n(weight, row * n, T(0));
        std::fill_n(bias, row, T(0));
        const T* from = operands_[Weight].template data_ptr<T>();
        const T* shift = operands_[Bias].template data_ptr<T>();
        for_each_row([&](int64_t at, int64_t lane, int64_t channel) {
            bias[at + lane] = shift[channel];
            for (int64_t f = 0; f < n; ++f)
                weight[at * n + f * lanes + lane] = from[channel * n + f];
        });
        task_.weight = weight;
        task_.bias = bias;
    }

    /// Gradients of the map in parts, each summed in order.
    [[nodiscard]] std::vector<Memory> backward_destinations()
    {
        const auto n = state_.edges.n_dst;
        const auto parts = count_parts((n + kBlockNodes - 1) / kBlockNodes);
        const auto size = kernels_.row(task_) * (task_.features + 1);
        std::vector<Memory> sums;
        sums.resize(size_t(parts));
        for_each_part(
            parts, [&] { return scratch(); },
            [&](int64_t part, const Memory& own) {
                auto& sum = sums[size_t(part)] = memory(size);
                std::fill_n(sum.get(), size, T(0));
                kernels_.backward_destinations(task_, n * part / parts, n * (part + 1) / parts, own.get(),
                                               {sum.get(), sum.get() + size - kernels_.row(task_)});
            });
        return sums;
    }

    void unpack_map(const std::vector<Memory>& sums, variable_list& result) const
    {
        const auto n = task_.features, lanes = kernels_.lanes, row = kernels_.row(task_);
        result[Weight] = at::zeros(operands_[Weight].sizes(), options());
        result[Bias] = at::zeros(operands_[Bias].sizes(), options());
        T* weight = result[Weight].template data_ptr<T>();
        T* bias = result[Bias].template data_ptr<T>();
        for (const auto& sum : sums)
            for_each_row([&](int64_t at, int64_t lane, int64_t channel) {
                bias[channel] += sum[size_t(row * n + at + lane)];
                for (int64_t f = 0; f < n; ++f)
                    weight[channel * n + f] += sum[size_t(at * n + f * lanes + lane)];
            });
    }

    const CallState& state_;
    const variable_list& operands_;
    const Kernels<T>& kernels_ = kernels<T>(operands_[Query].size(1));
    Task<T> task_;
    int64_t width_ = 0, blocks_ = 0;
    std::vector<Memory> kept_;
};

struct EdgeAttention : torch::autograd::Function<EdgeAttention> {
    static at::Tensor forward(AutogradContext* context, at::TensorList operands,
                              const c10::intrusive_ptr<CallState>& state)
    {
        auto saved = operands.vec();
        at::Tensor out;
        AT_DISPATCH_FLOATING_TYPES(saved[Query].scalar_type(), "edge_attention", [&] {
            auto [result, moments] = Call<scalar_t>(*state, saved).forward();
            out = result;
            saved.push_back(moments);
        });
        context->save_for_backward(std::move(saved));
        context->saved_data["state"] = c10::IValue::make_capsule(state);
        return out;
    }

    static variable_list backward(AutogradContext* context, const variable_list& gradients)
    {
        const auto saved = context->get_saved_variables();
        const auto state = c10::static_intrusive_pointer_cast<CallState>(context->saved_data["state"].toCapsule());
        const auto grad = gradients[0].contiguous();
        variable_list result;
        AT_DISPATCH_FLOATING_TYPES(saved[Query].scalar_type(), "edge_attention",
                                   [&] { result = Call<scalar_t>(*state, saved).backward(saved[kOperands], grad); });
        result.resize(kOperands + 1);
        return result;
    }
};

void check_shapes(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const EdgeTerm& e,
                  const EdgeIndex& edges)
{
    GRADWIND_CHECK(q.dim() == 3 && q.size(0) == edges.n_dst && q.size(1) > 0 && q.size(2) > 0, ShapeError,
                   "[edge_attention] expected q of [{}, heads, depth] (n_dst), got [{}]", edges.n_dst,
                   fmt::join(q.sizes().vec(), ", "));
    for (const auto* rows : {&k, &v})
        GRADWIND_CHECK(rows->dim() == 3 && rows->size(0) == edges.n_src && rows->size(1) == q.size(1) &&
                           rows->size(2) == q.size(2),
                       ShapeError, "[edge_attention] expected k and v of [{}, {}, {}] (n_src, heads, depth), got [{}]",
                       edges.n_src, q.size(1), q.size(2), fmt::join(rows->sizes().vec(), ", "));
    const auto width = q.size(1) * q.size(2);
    GRADWIND_CHECK(e.features.dim() == 2 && e.features.size(0) == edges.n_edges(), ShapeError,
                   "[edge_attention] expected features of [{}, columns] (n_edges), got [{}]", edges.n_edges(),
                   fmt::join(e.features.sizes().vec(), ", "));
    GRADWIND_CHECK(e.weight.dim() == 2 && e.weight.size(0) == width && e.weight.size(1) == e.features.size(1) &&
                       e.bias.dim() == 1 && e.bias.size(0) == width,
                   ShapeError, "[edge_attention] expected an edge map of [{}, {}] (heads * depth, columns), got [{}]",
                   width, e.features.size(1), fmt::join(e.weight.sizes().vec(), ", "));
}

/// Heads and depth side by side; rows may be apart.
at::Tensor dense_rows(const at::Tensor& x)
{
    return x.stride(2) == 1 && x.stride(1) == x.size(2) ? x : x.contiguous();
}

} // namespace

at::Tensor detail::edge_attention_on_cpu(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                         const EdgeTerm& e, const EdgeIndex& edges)
{
    auto state = c10::make_intrusive<CallState>();
    state->edges = edges;
    state->most_edges = most_edges(edges);
    const variable_list operands = {dense_rows(q),           dense_rows(k),         dense_rows(v),
                                    e.features.contiguous(), e.weight.contiguous(), e.bias.contiguous()};
    return EdgeAttention::apply(at::TensorList(operands), state);
}

at::Tensor edge_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const EdgeTerm& e,
                          const EdgeIndex& edges)
{
    check_shapes(q, k, v, e, edges);
    if (q.is_cuda() && detail::edge_attention_cuda_takes(q, e))
        return detail::edge_attention_on_cuda(q, k, v, e, edges);
    if (!q.is_cpu())
        return detail::edge_attention_by_torch(q, k, v, e, edges);
    const auto type = q.scalar_type();
    const auto wide = type == at::kDouble ? at::kDouble : at::kFloat;
    const EdgeTerm term = {e.features.to(wide), e.weight.to(wide), e.bias.to(wide)};
    return detail::edge_attention_on_cpu(q.to(wide), k.to(wide), v.to(wide), term, edges).to(type);
}

} // namespace gradwind::ops
