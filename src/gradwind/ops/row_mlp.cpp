// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/ops/row_mlp.h"

#include "gradwind/core/error.h"
#include "gradwind/core/torch_version.h"
#include "gradwind/ops/parts.h"
#include "gradwind/ops/row_mlp_call.h"
#include "gradwind/ops/row_mlp_kernels.h"

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>

namespace gradwind::ops
{

namespace
{

using namespace row_mlp_kernels;
using torch::autograd::AutogradContext;
using At = RowMlpOperand::At;

/// Rows that are worked on together; their intermediate values fill about half of a second-level cache.
constexpr int64_t kBlockRows = 128;

std::vector<Block> make_blocks(int64_t rows, const int64_t* destinations, int64_t n_destinations)
{
    std::vector<Block> blocks;
    if (!destinations) {
        for (int64_t first = 0; first < rows; first += kBlockRows)
            blocks.push_back({first, std::min(rows, first + kBlockRows), 0, 0});
        return blocks;
    }
    // No block parts the rows of a destination.
    Block block;
    for (int64_t d = 0; d < n_destinations; ++d) {
        const auto end = destinations[d + 1];
        if (end - block.first > kBlockRows && block.last > block.first) {
            block.last_destination = d;
            blocks.push_back(block);
            block = {block.last, block.last, d, d};
        }
        block.last = end;
    }
    block.last_destination = n_destinations;
    blocks.push_back(block);
    return blocks;
}

int64_t most_rows(const std::vector<Block>& blocks)
{
    int64_t rows = 0;
    for (const auto& block : blocks)
        rows = std::max(rows, block.last - block.first);
    return rows;
}

/// Everything a call computes with: the kernels' tasks, and the memory that they point into.
template <class T>
class Call
{
public:
    enum class Pass { Forward, Backward };
    Call(const RowMlpCall& state, const variable_list& tensors, Pass pass) : state_(state), tensors_(tensors)
    {
        task_.n_layers = int64_t(state.n_layers);
        task_.epsilon = T(state.epsilon);
        int64_t column = 0;
        for (size_t i = 0; i < state.at.size(); ++i) {
            const RowMlpColumns columns{column, tensors[i].size(1)};
            column += columns.count;
            if (state.at[i] == At::Row) {
                direct_.push_back(i);
                direct_columns_.push_back(columns);
            } else {
                projected_.push_back(i);
                projected_columns_.push_back(columns);
            }
        }
        set_layers(pass);
        set_operands(pass);
        if (state.norm) {
            task_.norm_weight = pointer(state.norm_weight());
            task_.norm_bias = pointer(state.norm_bias());
        }
        rows_ = tensors[direct_.front()].size(0);
        if (state.edges) {
            task_.destinations = state.edges->dst_ptr.template data_ptr<int64_t>();
            task_.destination_of_row = state.edges->dst.template data_ptr<int64_t>();
        }
        blocks_ = make_blocks(rows_, state.sums ? task_.destinations : nullptr, state.edges ? state.edges->n_dst : 0);
        scratch_size_ = scratch_size(task_, std::max<int64_t>(most_rows(blocks_), 1));
    }

    variable_list forward()
    {
        project();
        const auto width = task_.layers[state_.n_layers - 1].out;
        variable_list out = {at::empty({rows_, width}, options())};
        task_.out = out[0].template data_ptr<T>();
        if (state_.sums) {
            out.push_back(at::empty({state_.edges->n_dst, width}, options()));
            task_.sums = out[1].template data_ptr<T>();
        }
        for_each_part(
            int64_t(blocks_.size()), [&] { return memory(scratch_size_); },
            [&](int64_t b, const Memory& scratch) { kernels_.forward(task_, blocks_[size_t(b)], scratch.get()); });
        return out;
    }

    variable_list backward(const variable_list& gradients, const std::vector<bool>& wanted)
    {
        variable_list result(tensors_.size());
        const auto contiguous = [](const at::Tensor& g) { return g.defined() ? g.contiguous() : g; };
        const auto grad_out = contiguous(gradients[0]);
        const auto grad_sums = gradients.size() > 1 ? contiguous(gradients[1]) : at::Tensor();
        if (!grad_out.defined() && !grad_sums.defined())
            return result;
        project();
        task_.grad_out = grad_out.defined() ? grad_out.template data_ptr<T>() : nullptr;
        task_.grad_sums = grad_sums.defined() ? grad_sums.template data_ptr<T>() : nullptr;
        for (size_t i = 0; i < state_.at.size(); ++i)
            if (wanted[i])
                result[i] = at::empty(tensors_[i].sizes(), options());
        for (size_t k = 0; k < direct_.size(); ++k)
            if (wanted[direct_[k]])
                task_.operands[k].gradient = result[direct_[k]].template data_ptr<T>();
        at::Tensor grad_hidden;
        if (!projected_.empty()) {
            grad_hidden = at::empty({rows_, row_stride(task_.layers[0].out)}, options());
            task_.grad_hidden = grad_hidden.template data_ptr<T>();
        }
        for (size_t i = state_.at.size(); i < tensors_.size(); ++i)
            result[i] = at::empty(tensors_[i].sizes(), options());
        rows_backward(result);
        for (size_t k = 0; k < projected_.size(); ++k)
            projection_backward(k, result);
        return result;
    }

private:
    using Memory = std::unique_ptr<T[]>;
    static Memory memory(int64_t size) { return Memory(new T[size_t(size)]); }
    [[nodiscard]] at::TensorOptions options() const { return tensors_.front().options().requires_grad(false); }
    [[nodiscard]] const T* pointer(size_t i) const { return tensors_[i].template data_ptr<T>(); }

    const T* keep(Memory owned)
    {
        kept_.push_back(std::move(owned));
        return kept_.back().get();
    }

    /// RowMlpColumns of a weight, padded, in the orders that the kernels read.
    Linear<T> linear(const at::Tensor& weight, const std::vector<RowMlpColumns>& columns, Pass pass)
    {
        Linear<T> out;
        out.out = weight.size(0);
        for (const auto& part : columns)
            out.in += part.count;
        const auto in_stride = row_stride(out.in), out_stride = row_stride(out.out), total = weight.size(1);
        auto by_input = memory(out.in * out_stride);
        auto by_output = pass == Pass::Backward ? memory(out.out * in_stride) : nullptr;
        std::fill_n(by_input.get(), out.in * out_stride, T(0));
        if (by_output)
            std::fill_n(by_output.get(), out.out * in_stride, T(0));
        const T* w = weight.data_ptr<T>();
        for (int64_t o = 0; o < out.out; ++o) {
            int64_t i = 0;
            for (const auto& part : columns)
                for (int64_t c = 0; c < part.count; ++c, ++i) {
                    const T value = w[o * total + part.begin + c];
                    by_input[size_t(i * out_stride + o)] = value;
                    if (by_output)
                        by_output[size_t(o * in_stride + i)] = value;
                }
        }
        out.by_input = keep(std::move(by_input));
        if (by_output)
            out.by_output = keep(std::move(by_output));
        return out;
    }

    void set_layers(Pass pass)
    {
        for (size_t l = 0; l < state_.n_layers; ++l) {
            const auto& weight = tensors_[state_.weight(l)];
            auto& layer = task_.layers[l];
            layer = linear(weight, l == 0 ? direct_columns_ : std::vector<RowMlpColumns>{{0, weight.size(1)}}, pass);
            auto bias = memory(row_stride(layer.out));
            std::fill_n(std::copy_n(pointer(state_.bias(l)), layer.out, bias.get()), row_stride(layer.out) - layer.out,
                        T(0));
            layer.bias = keep(std::move(bias));
        }
    }

    void set_operands(Pass pass)
    {
        task_.n_operands = int64_t(direct_.size());
        for (size_t k = 0; k < direct_.size(); ++k) {
            task_.operands[k] = {pointer(direct_[k]), direct_columns_[k].count, nullptr};
            if (state_.residual == direct_[k])
                task_.residual = int64_t(k);
        }
        task_.n_spread = int64_t(projected_.size());
        for (size_t k = 0; k < projected_.size(); ++k) {
            const auto i = projected_[k];
            auto& projection = projections_[k];
            projection.linear = linear(tensors_[state_.weight(0)], {projected_columns_[k]}, pass);
            projection.x = {pointer(i), projected_columns_[k].count, nullptr};
            const bool source = state_.at[i] == At::Source;
            const auto& edges = *state_.edges;
            const auto of = [](const at::Tensor& t) { return t.template data_ptr<int64_t>(); };
            task_.spread[k].index = of(source ? edges.src : edges.dst);
            projection.ptr = of(source ? edges.src_ptr : edges.dst_ptr);
            projection.order = source ? of(edges.by_src) : nullptr;
        }
    }

    /// Operands at nodes through their columns of the first layer.
    void project()
    {
        for (size_t k = 0; k < projected_.size(); ++k) {
            auto& projection = projections_[k];
            state_.prepare(state_.at[projected_[k]]);
            const auto n = tensors_[projected_[k]].size(0);
            auto out = memory(n * row_stride(projection.linear.out));
            projection.out = out.get();
            task_.spread[k].rows = keep(std::move(out));
            for_each_part((n + kBlockRows - 1) / kBlockRows, [&](int64_t b) {
                kernels_.project(projection, b * kBlockRows, std::min(n, (b + 1) * kBlockRows));
            });
        }
    }

    struct Sums {
        int64_t part_size = 0;
        std::vector<Memory> parts;
        std::vector<int64_t> offsets;
    };

    /// Adds up the parts of a padded [rows, columns] array at `offset`, in order, into columns of `out`.
    static void add_parts(const Sums& sums, int64_t offset, const Linear<T>& linear,
                          const std::vector<RowMlpColumns>& columns, const at::Tensor& out)
    {
        T* to = out.data_ptr<T>();
        const auto total = out.size(1), stride = row_stride(linear.in);
        at::parallel_for(0, linear.out, 32, [&](int64_t begin, int64_t end) {
            for (auto o = begin; o < end; ++o) {
                auto from = offset + o * stride;
                for (const auto& part : columns) {
                    T* row = to + o * total + part.begin;
                    std::copy_n(sums.parts[0].get() + from, part.count, row);
                    for (size_t p = 1; p < sums.parts.size(); ++p) {
                        const T* own = sums.parts[p].get() + from;
                        for (int64_t c = 0; c < part.count; ++c)
                            row[c] += own[c];
                    }
                    from += part.count;
                }
            }
        });
    }

    static void add_parts(const Sums& sums, int64_t offset, const at::Tensor& out)
    {
        Linear<T> one_row;
        one_row.in = out.numel();
        one_row.out = 1;
        add_parts(sums, offset, one_row, {{0, out.numel()}}, out.view({1, -1}));
    }

    /// Lets every part run over its blocks, with sums that start at zero.
    template <class Work>
    static Sums sum_blocks(int64_t part_size, int64_t n_blocks, int64_t scratch_size, const Work& work)
    {
        Sums sums;
        const auto n_parts = count_parts(n_blocks);
        sums.part_size = part_size;
        sums.parts.resize(size_t(n_parts));
        for_each_part(n_parts, [&](int64_t part) {
            auto own = memory(part_size);
            std::fill_n(own.get(), part_size, T(0));
            const auto scratch = memory(scratch_size);
            for (auto b = part * n_blocks / n_parts; b < (part + 1) * n_blocks / n_parts; ++b)
                work(b, own.get(), scratch.get());
            sums.parts[size_t(part)] = std::move(own);
        });
        return sums;
    }

    void rows_backward(variable_list& result)
    {
        std::vector<int64_t> weights, biases;
        int64_t size = 0;
        const auto take = [&](int64_t count) { return std::exchange(size, size + count); };
        for (size_t l = 0; l < state_.n_layers; ++l) {
            const auto& layer = task_.layers[l];
            weights.push_back(take(layer.out * row_stride(layer.in)));
            biases.push_back(take(row_stride(layer.out)));
        }
        const auto width = row_stride(task_.layers[state_.n_layers - 1].out);
        const auto norm_weight = take(state_.norm ? width : 0), norm_bias = take(state_.norm ? width : 0);
        const auto sums = sum_blocks(size, int64_t(blocks_.size()), scratch_size_, [&](int64_t b, T* own, T* scratch) {
            TaskSums<T> into;
            for (size_t l = 0; l < state_.n_layers; ++l)
                into.layers[l] = {own + weights[l], own + biases[l]};
            into.norm_weight = own + norm_weight;
            into.norm_bias = own + norm_bias;
            kernels_.backward(task_, blocks_[size_t(b)], scratch, into);
        });
        for (size_t l = 0; l < state_.n_layers; ++l) {
            const auto& layer = task_.layers[l];
            add_parts(sums, weights[l], layer, l == 0 ? direct_columns_ : std::vector<RowMlpColumns>{{0, layer.in}},
                      result[state_.weight(l)]);
            add_parts(sums, biases[l], result[state_.bias(l)]);
        }
        if (state_.norm) {
            add_parts(sums, norm_weight, result[state_.norm_weight()]);
            add_parts(sums, norm_bias, result[state_.norm_bias()]);
        }
    }

    void projection_backward(size_t k, variable_list& result)
    {
        auto& projection = projections_[k];
        const auto i = projected_[k];
        projection.grad_hidden = task_.grad_hidden;
        projection.x.gradient = result[i].defined() ? result[i].template data_ptr<T>() : nullptr;
        const auto n = tensors_[i].size(0), stride = row_stride(projection.linear.in);
        const auto sums =
            sum_blocks(projection.linear.out * stride, (n + kBlockRows - 1) / kBlockRows,
                       kBlockRows * (stride + row_stride(projection.linear.out)), [&](int64_t b, T* own, T* scratch) {
                           kernels_.project_backward(projection, b * kBlockRows, std::min(n, (b + 1) * kBlockRows),
                                                     scratch, {own, nullptr});
                       });
        add_parts(sums, 0, projection.linear, {projected_columns_[k]}, result[state_.weight(0)]);
    }

    const RowMlpCall& state_;
    const variable_list& tensors_;
    const Kernels<T>& kernels_ = kernels<T>();
    Task<T> task_;
    Projection<T> projections_[kMaxOperands];
    std::vector<size_t> direct_, projected_;
    std::vector<RowMlpColumns> direct_columns_, projected_columns_;
    std::vector<Memory> kept_;
    std::vector<Block> blocks_;
    int64_t rows_ = 0, scratch_size_ = 0;
};

struct RowMlp : torch::autograd::Function<RowMlp> {
    static variable_list forward(AutogradContext* context, at::TensorList tensors,
                                 const c10::intrusive_ptr<RowMlpCall>& state)
    {
        const auto list = tensors.vec();
        context->save_for_backward(list);
        context->saved_data["state"] = c10::IValue::make_capsule(state);
        if (list.front().is_cuda())
            return row_mlp_cuda_forward(*state, list);
        variable_list out;
        AT_DISPATCH_FLOATING_TYPES(list.front().scalar_type(), "row_mlp", [&] {
            out = Call<scalar_t>(*state, list, Call<scalar_t>::Pass::Forward).forward();
        });
        return out;
    }

    static variable_list backward(AutogradContext* context, const variable_list& gradients)
    {
        const auto tensors = context->get_saved_variables();
        const auto state = c10::static_intrusive_pointer_cast<RowMlpCall>(context->saved_data["state"].toCapsule());
        std::vector<bool> wanted;
        for (const auto& tensor : tensors)
            wanted.push_back(tensor.requires_grad());
        variable_list result;
        if (tensors.front().is_cuda()) {
            result = row_mlp_cuda_backward(*state, tensors, gradients, wanted);
            result.resize(tensors.size() + 1);
            return result;
        }
        AT_DISPATCH_FLOATING_TYPES(tensors.front().scalar_type(), "row_mlp", [&] {
            result = Call<scalar_t>(*state, tensors, Call<scalar_t>::Pass::Backward).backward(gradients, wanted);
        });
        result.resize(tensors.size() + 1);
        return result;
    }
};

void check_shapes(const RowMlpCall& state, const variable_list& tensors)
{
    int64_t width = 0;
    int64_t rows = -1;
    for (size_t i = 0; i < state.at.size(); ++i) {
        GRADWIND_ASSERT(state.at[i] == At::Row || state.edges);
        const auto expected = state.at[i] == At::Source        ? state.edges->n_src
                              : state.at[i] == At::Destination ? state.edges->n_dst
                              : state.edges                    ? state.edges->n_edges()
                              : rows < 0                       ? tensors[i].size(0)
                                                               : rows;
        GRADWIND_CHECK(tensors[i].dim() == 2 && tensors[i].size(0) == expected, ShapeError,
                       "[row_mlp] operand {} has {} rows; {} are expected", i, tensors[i].size(0), expected);
        width += tensors[i].size(1);
        if (state.at[i] == At::Row)
            rows = expected;
    }
    GRADWIND_CHECK(rows >= 0, ShapeError, "[row_mlp] no operand has the rows of the result");
    for (size_t l = 0; l < state.n_layers; ++l) {
        const auto& weight = tensors[state.weight(l)];
        GRADWIND_CHECK(weight.size(1) == width, ShapeError, "[row_mlp] layer {} takes {} columns and is given {}", l,
                       weight.size(1), width);
        width = weight.size(0);
    }
    if (state.residual)
        GRADWIND_CHECK(tensors[*state.residual].size(1) == width, ShapeError,
                       "[row_mlp] the residual operand has {} columns, the result {}", tensors[*state.residual].size(1),
                       width);
}

} // namespace

bool row_mlp_takes(const at::Tensor& like, const Activation& activation, size_t n_layers)
{
    if (activation != Activation::Gelu || int64_t(n_layers) > kMaxLayers)
        return false;
    const auto autocast = AutocastState::current();
    const auto type = like.scalar_type();
    if (like.is_cuda())
        return autocast.cuda.enabled ? autocast.cuda.dtype == at::kBFloat16 : type == at::kFloat;
    return like.is_cpu() && (type == at::kFloat || type == at::kDouble) && !autocast.cpu.enabled;
}

RowMlpResult row_mlp(const RowMlpWeights& weights, const std::vector<RowMlpOperand>& operands,
                     const RowMlpOptions& options)
{
    auto state = c10::make_intrusive<RowMlpCall>();
    variable_list tensors;
    const auto add = [&](const at::Tensor& tensor) { tensors.push_back(tensor.contiguous()); };
    for (const auto& operand : operands) {
        state->at.push_back(operand.at);
        add(operand.rows);
    }
    for (const auto& weight : weights.weights)
        add(weight);
    for (const auto& bias : weights.biases)
        add(bias);
    state->n_layers = weights.weights.size();
    state->norm = weights.norm_weight.defined();
    if (state->norm) {
        add(weights.norm_weight);
        add(weights.norm_bias);
    }
    state->epsilon = weights.epsilon;
    const auto& rows = operands.front().rows;
    const auto autocast = AutocastState::current().cuda;
    state->precision = rows.is_cuda() && autocast.enabled ? autocast.dtype : rows.scalar_type();
    state->residual = options.residual;
    state->sums = options.sums == RowMlpOptions::Sums::AtDestination;
    if (options.edges)
        state->edges = *options.edges;
    check_shapes(*state, tensors);
    state->before_sources = options.before_sources;
    const auto out = RowMlp::apply(at::TensorList(tensors), state);
    state->before_sources = nullptr;
    return {out[0], state->sums ? out[1] : at::Tensor()};
}

} // namespace gradwind::ops
