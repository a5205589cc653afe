// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// row_mlp on a GPU: matrix products of the library, everything between them in few passes, many rows at a time.
#include "gradwind/core/torch_version.h"
#include "gradwind/ops/own_function.h"
#include "gradwind/ops/row_mlp_call.h"
#include "gradwind/ops/row_mlp_cuda_kernels.h"
#include "gradwind/ops/row_sums_cuda.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAStream.h>

#include <map>

namespace gradwind::ops
{

namespace
{

using namespace row_mlp_cuda;
using At = RowMlpOperand::At;

/// Elements of a hidden layer that are worked on together: enough to fill a GPU, few enough (64 MiB in bf16) that
/// intermediate values take little memory.
constexpr int64_t kChunkElements = 1 << 25;
/// So that they take less memory, too, where a model has several GPUs and each of them few rows.
constexpr int64_t kFewestChunks = 3;
constexpr int64_t kFewestChunkRows = 20 << 10;

/// Rows of each of the chunks, which are of one size but for the last.
int64_t rows_of_chunk(int64_t rows, int64_t width)
{
    const auto part = (rows + kFewestChunks - 1) / kFewestChunks;
    const auto most = std::max(std::min(kChunkElements / width, part), kFewestChunkRows);
    const auto n_chunks = std::max<int64_t>((rows + most - 1) / most, 1);
    return std::max<int64_t>((rows + n_chunks - 1) / n_chunks, 1);
}

/// Matrix products are fast where rows begin at multiples of 16 bytes.
int64_t padded(int64_t columns)
{
    return (columns + 7) / 8 * 8;
}

/// x in another type, columns filled up with zeros.
at::Tensor prepared(const at::Tensor& x, at::ScalarType type)
{
    if (x.size(1) == padded(x.size(1)))
        return x.to(type);
    auto out = at::empty({x.size(0), padded(x.size(1))}, x.options().dtype(type).requires_grad(false));
    out.narrow(1, 0, x.size(1)).copy_(x);
    out.narrow(1, x.size(1), out.size(1) - x.size(1)).zero_();
    return out;
}

const int64_t* ids(const at::Tensor& t)
{
    return t.defined() ? t.data_ptr<int64_t>() : nullptr;
}

/// The first of several summands becomes the sum, so that nothing has to be set to zero before.
void add_to(at::Tensor& sum, const at::Tensor& more)
{
    if (sum.defined())
        sum.add_(more);
    else
        sum = more;
}

/// An operand with its columns of the first layer.
struct Input {
    size_t operand = 0;
    RowMlpColumns columns;
    at::Tensor weight; ///< [hidden, padded columns]
};

class Call
{
public:
    Call(const RowMlpCall& call, const variable_list& tensors)
        : call_(call), tensors_(tensors), stream_(c10::cuda::getCurrentCUDAStream(tensors[0].device().index()))
    {
        int64_t column = 0;
        const auto& first = tensors[call.weight(0)];
        for (size_t i = 0; i < call.at.size(); ++i) {
            const RowMlpColumns columns{column, tensors[i].size(1)};
            column += columns.count;
            auto weight = prepared(first.narrow(1, columns.begin, columns.count), call.precision).contiguous();
            (call.at[i] == At::Row ? direct_ : projected_).push_back({i, columns, std::move(weight)});
        }
        rows_ = tensors[direct_.front().operand].size(0);
        chunk_rows_ = rows_of_chunk(rows_, first.size(0));
        for (size_t l = 1; l < call.n_layers; ++l)
            weights_.push_back(tensors[call.weight(l)].to(call.precision));
        if (call.norm)
            norm_ = {tensors[call.norm_weight()].data_ptr<float>(), tensors[call.norm_bias()].data_ptr<float>(),
                     float(call.epsilon)};
        for (const auto& input : projected_) {
            call.prepare(call.at[input.operand]);
            tables_.push_back(at::mm(prepared(tensors[input.operand], call.precision), input.weight.t()));
        }
    }

    variable_list forward()
    {
        auto out = empty(rows_, width(call_.n_layers - 1));
        for (int64_t begin = 0; begin < rows_; begin += chunk_rows_) {
            const auto n = std::min(chunk_rows_, rows_ - begin);
            auto z = first_layer(begin, n);
            for (size_t l = 0; l + 1 < call_.n_layers; ++l) {
                run_activation(l, begin, z, z, Keep::Nothing);
                z = at::mm(z, weights_[l].t());
            }
            const auto residual = call_.residual ? operand_rows(*call_.residual, begin, n) : at::Tensor();
            finish(launch(z), z.data_ptr(), bias(call_.n_layers - 1), norm_,
                   residual.defined() ? residual.data_ptr() : nullptr, out.narrow(0, begin, n).data_ptr());
        }
        variable_list result = {out};
        if (call_.sums)
            result.push_back(segments(out, call_.edges->dst_ptr, {}, call_.edges->n_dst));
        return result;
    }

    variable_list backward(const variable_list& gradients, const std::vector<bool>& wanted)
    {
        variable_list result(tensors_.size());
        if (!gradients[0].defined() && !(gradients.size() > 1 && gradients[1].defined()))
            return result;
        start_gradients(gradients, wanted, result);
        for (int64_t begin = 0; begin < rows_; begin += chunk_rows_)
            chunk_backward(begin, std::min(chunk_rows_, rows_ - begin), result);
        for (size_t k = 0; k < projected_.size(); ++k)
            projection_backward(k, wanted, result);
        grad_hidden_ = at::Tensor();
        hand_over_sums(result);
        return result;
    }

private:
    [[nodiscard]] at::TensorOptions options(at::ScalarType type) const
    {
        return tensors_[0].options().dtype(type).requires_grad(false);
    }
    [[nodiscard]] at::Tensor empty(int64_t rows, int64_t columns) const
    {
        return at::empty({rows, columns}, options(call_.precision));
    }
    [[nodiscard]] int64_t width(size_t layer) const { return tensors_[call_.weight(layer)].size(0); }
    [[nodiscard]] const float* bias(size_t layer) const { return tensors_[call_.bias(layer)].data_ptr<float>(); }
    [[nodiscard]] Launch launch(const at::Tensor& x) const
    {
        return {call_.precision == at::kBFloat16 ? Real::BFloat16 : Real::Float, x.size(0), x.size(1),
                stream_.stream()};
    }

    [[nodiscard]] at::Tensor operand_rows(size_t i, int64_t begin, int64_t n) const
    {
        return tensors_[i].narrow(0, begin, n).to(call_.precision);
    }

    [[nodiscard]] at::Tensor first_layer(int64_t begin, int64_t n) const
    {
        at::Tensor z;
        for (const auto& input : direct_) {
            const auto x = prepared(tensors_[input.operand].narrow(0, begin, n), call_.precision);
            z = z.defined() ? z.addmm_(x, input.weight.t()) : at::mm(x, input.weight.t());
        }
        return z;
    }

    void run_activation(size_t layer, int64_t begin, const at::Tensor& z, const at::Tensor& a, Keep keep) const
    {
        Spread spread[2];
        if (layer == 0)
            for (size_t k = 0; k < projected_.size(); ++k) {
                const auto& edges = *call_.edges;
                const bool source = call_.at[projected_[k].operand] == At::Source;
                spread[k] = {tables_[k].data_ptr(), ids(source ? edges.src : edges.dst) + begin};
            }
        activate(launch(z), z.data_ptr(), bias(layer), spread, a.data_ptr(), keep);
    }

    [[nodiscard]] at::Tensor segments(const at::Tensor& rows, const at::Tensor& ptr, const at::Tensor& order,
                                      int64_t count) const
    {
        auto out = empty(count, rows.size(1));
        segment_sum(launch(out), rows.data_ptr(), ids(ptr), ids(order), out.data_ptr());
        return out;
    }

    void start_gradients(const variable_list& gradients, const std::vector<bool>& wanted, variable_list& result)
    {
        const auto as_ours = [&](const at::Tensor& g) { return g.defined() ? g.to(call_.precision).contiguous() : g; };
        grad_rows_ = as_ours(gradients[0]);
        grad_sums_ = gradients.size() > 1 ? as_ours(gradients[1]) : at::Tensor();
        for (const auto& input : direct_)
            if (wanted[input.operand])
                result[input.operand] = empty(rows_, input.columns.count);
        if (!projected_.empty())
            grad_hidden_ = empty(rows_, width(0));
        weight_sums_.resize(call_.n_layers);
        bias_sums_.resize(call_.n_layers);
    }

    /// Where there are no rows nothing was summed: gradients are zero then, not absent.
    void hand_over_sums(variable_list& result)
    {
        const auto zeros = [&](at::IntArrayRef shape) { return at::zeros(shape, options(at::kFloat)); };
        const auto sums_of = [&](const at::Tensor& sums, size_t tensor) {
            return sums.defined() ? sums : zeros(tensors_[tensor].sizes());
        };
        for (const auto& input : direct_)
            if (auto& sums = first_sums_[input.columns.begin]; !sums.defined())
                sums = zeros({width(0), input.columns.count});
        variable_list first; // in the order of their columns
        for (const auto& [column, sums] : first_sums_)
            first.push_back(sums);
        weight_sums_[0] = first.size() > 1 ? at::cat(first, 1) : first.front();
        for (size_t l = 0; l < call_.n_layers; ++l)
            result[call_.weight(l)] = sums_of(weight_sums_[l], call_.weight(l));
        for (size_t l = 0; l + 1 < call_.n_layers; ++l)
            result[call_.bias(l)] = sums_of(bias_sums_[l], call_.bias(l));
        const std::vector<size_t> last = {call_.bias(call_.n_layers - 1), call_.norm_weight(), call_.norm_bias()};
        for (size_t set = 0; set < n_finish_sums(); ++set)
            result[last[set]] = sums_of(finish_sums_.defined() ? finish_sums_[int64_t(set)] : at::Tensor(), last[set]);
    }

    /// Of the last bias and, where there is a normalisation, of its weight and bias.
    [[nodiscard]] size_t n_finish_sums() const { return call_.norm ? 3 : 1; }

    /// Room for parts of column sums.
    [[nodiscard]] at::Tensor parts(size_t sets, int64_t rows, int64_t columns) const
    {
        return at::empty({int64_t(sets), count_parts(rows), columns}, options(at::kFloat));
    }

    [[nodiscard]] at::Tensor finish_rows_backward(int64_t begin, const at::Tensor& z, const at::Tensor& total)
    {
        const auto n = z.size(0);
        const auto last = call_.n_layers - 1;
        auto dz = at::empty_like(z);
        const auto own = parts(n_finish_sums(), n, width(last));
        auto* const first = own.data_ptr<float>();
        const auto set_size = own.stride(0);
        FinishSums into{first};
        if (call_.norm) {
            into.norm_weight = first + set_size;
            into.norm_bias = first + 2 * set_size;
        }
        RowGradient gradient;
        if (grad_rows_.defined())
            gradient.rows = grad_rows_.narrow(0, begin, n).data_ptr();
        if (grad_sums_.defined()) {
            gradient.sums = grad_sums_.data_ptr();
            gradient.destination = ids(call_.edges->dst) + begin;
        }
        finish_backward(launch(z), z.data_ptr(), bias(last), norm_, gradient, dz.data_ptr(),
                        total.defined() ? total.data_ptr() : nullptr, into);
        add_to(finish_sums_, sum_of_parts(own));
        return dz;
    }

    void chunk_backward(int64_t begin, int64_t n, variable_list& result)
    {
        const auto last = call_.n_layers - 1;
        variable_list arguments, activated;
        auto z = first_layer(begin, n);
        for (size_t l = 0; l < last; ++l) {
            activated.push_back(at::empty_like(z));
            run_activation(l, begin, z, activated.back(), Keep::Argument);
            arguments.push_back(z);
            // What the last layer gives matters to a normalisation only.
            z = l + 1 < last || call_.norm ? at::mm(activated.back(), weights_[l].t()) : empty(n, width(last));
        }
        at::Tensor total;
        if (call_.residual && result[*call_.residual].defined())
            total = result[*call_.residual].narrow(0, begin, n);
        auto dz = finish_rows_backward(begin, z, total);
        for (size_t l = last; l > 0; --l) {
            add_to(weight_sums_[l], product_in_float(dz.t(), activated[l - 1]));
            auto da =
                l == 1 && grad_hidden_.defined() ? grad_hidden_.narrow(0, begin, n) : at::empty_like(arguments[l - 1]);
            at::mm_out(da, dz, weights_[l - 1]);
            const auto own = parts(1, n, width(l - 1));
            activate_backward(launch(da), arguments[l - 1].data_ptr(), da.data_ptr(), own.data_ptr<float>());
            add_to(bias_sums_[l - 1], sum_of_parts(own)[0]);
            dz = da;
        }
        if (last == 0 && grad_hidden_.defined())
            grad_hidden_.narrow(0, begin, n).copy_(dz);
        for (const auto& input : direct_)
            direct_backward(input, begin, dz, total, result);
    }

    void direct_backward(const Input& input, int64_t begin, const at::Tensor& dz, const at::Tensor& total,
                         variable_list& result)
    {
        const auto n = dz.size(0), count = input.columns.count;
        const auto x = prepared(tensors_[input.operand].narrow(0, begin, n), call_.precision);
        add_to(first_sums_[input.columns.begin], product_in_float(dz.t(), x).narrow(1, 0, count));
        if (!result[input.operand].defined())
            return;
        auto to = result[input.operand].narrow(0, begin, n);
        if (total.defined() && call_.residual == input.operand)
            to.addmm_(dz, input.weight.narrow(1, 0, count));
        else if (count == input.weight.size(1))
            at::mm_out(to, dz, input.weight);
        else
            to.copy_(at::mm(dz, input.weight).narrow(1, 0, count));
    }

    void projection_backward(size_t k, const std::vector<bool>& wanted, variable_list& result)
    {
        const auto& input = projected_[k];
        const auto& edges = *call_.edges;
        const bool source = call_.at[input.operand] == At::Source;
        const auto nodes = tensors_[input.operand].size(0);
        const auto dz = source ? segments(grad_hidden_, edges.src_ptr, edges.by_src, nodes)
                               : segments(grad_hidden_, edges.dst_ptr, {}, nodes);
        const auto count = input.columns.count;
        const auto x = prepared(tensors_[input.operand], call_.precision);
        first_sums_[input.columns.begin] = product_in_float(dz.t(), x).narrow(1, 0, count);
        if (wanted[input.operand])
            result[input.operand] = at::mm(dz, input.weight).narrow(1, 0, count);
    }

    const RowMlpCall& call_;
    const variable_list& tensors_;
    c10::cuda::CUDAStream stream_;
    std::vector<Input> direct_, projected_;
    variable_list weights_; ///< of the layers after the first
    variable_list tables_;  ///< first layer's products of the operands at nodes
    Norm norm_;
    int64_t rows_ = 0, chunk_rows_ = 0;
    at::Tensor grad_rows_, grad_sums_, grad_hidden_;
    variable_list weight_sums_, bias_sums_;    ///< by layer; the last bias is in finish_sums_
    std::map<int64_t, at::Tensor> first_sums_; ///< of the first layer's weight, by the operand's first column
    at::Tensor finish_sums_;                   ///< [n_finish_sums(), width of the last layer]
};

} // namespace

variable_list row_mlp_cuda_forward(const RowMlpCall& call, const variable_list& tensors)
{
    const OwnFunction scope(tensors[0].device());
    return Call(call, tensors).forward();
}

variable_list row_mlp_cuda_backward(const RowMlpCall& call, const variable_list& tensors,
                                    const variable_list& gradients, const std::vector<bool>& wanted)
{
    const OwnFunction scope(tensors[0].device());
    auto result = Call(call, tensors).backward(gradients, wanted);
    for (size_t i = 0; i < result.size(); ++i)
        if (result[i].defined())
            result[i] = result[i].to(tensors[i].scalar_type());
    return result;
}

} // namespace gradwind::ops
