// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/error.h"
#include "gradwind/core/torch_version.h"
#include "gradwind/ops/linear_impl.h"
#include "gradwind/ops/own_function.h"
#include "gradwind/ops/row_sums_cuda.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <numeric>

namespace gradwind::ops::detail
{

namespace
{

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Products whose matrices do not have a multiple of 8 columns take several times as long: over many rows it pays to
/// add columns of zeros.
constexpr int64_t kAlignedColumns = 8;
constexpr int64_t kManyRows = 4096;

int64_t aligned(int64_t columns, int64_t rows)
{
    return rows < kManyRows ? columns : (columns + kAlignedColumns - 1) / kAlignedColumns * kAlignedColumns;
}

/// Several matrices below each other in one type, with zeros beyond them.
at::Tensor joined(at::TensorList parts, int64_t rows, int64_t columns, at::ScalarType type)
{
    const auto& first = parts[0];
    if (parts.size() == 1 && first.size(0) == rows && (first.dim() == 1 || first.size(1) == columns))
        return first.to(type);
    const auto n_rows = std::accumulate(parts.begin(), parts.end(), int64_t{0},
                                        [](int64_t sum, const at::Tensor& part) { return sum + part.size(0); });
    const bool full = n_rows == rows && (first.dim() == 1 || first.size(1) == columns);
    const auto options = first.options().dtype(type).requires_grad(false);
    const auto shape = first.dim() == 1 ? std::vector<int64_t>{rows} : std::vector<int64_t>{rows, columns};
    auto out = full ? at::empty(shape, options) : at::zeros(shape, options);
    int64_t begin = 0;
    for (const auto& part : parts) {
        auto place = out.narrow(0, begin, part.size(0));
        (part.dim() == 1 ? place : place.narrow(1, 0, part.size(1))).copy_(part);
        begin += part.size(0);
    }
    return out;
}

/// Rows in a type, with columns of zeros behind them.
at::Tensor widened(const at::Tensor& x, int64_t columns, at::ScalarType type)
{
    if (x.size(1) == columns)
        return x.to(type);
    auto out = at::empty({x.size(0), columns}, x.options().dtype(type).requires_grad(false));
    out.narrow(1, 0, x.size(1)).copy_(x);
    out.narrow(1, x.size(1), columns - x.size(1)).zero_();
    return out;
}

/// Operands are x, the weights, and the biases where there are any.
struct LinearCuda : torch::autograd::Function<LinearCuda> {
    static variable_list forward(AutogradContext* context, at::TensorList operands, int64_t n_maps, at::ScalarType type)
    {
        const auto& x = operands[0];
        const OwnFunction scope(x.device());
        const auto weights = operands.slice(1, size_t(n_maps)), biases = operands.slice(1 + size_t(n_maps));
        int64_t width = 0;
        for (const auto& weight : weights)
            width += weight.size(0);
        const auto rows = x.size(0), all = aligned(width, rows), in = aligned(x.size(1), rows);
        const auto matrix = joined(weights, all, in, type);
        const auto from = widened(x, in, type);
        const auto y =
            biases.empty() ? at::mm(from, matrix.t()) : at::addmm(joined(biases, all, 1, type), from, matrix.t());
        context->save_for_backward(operands.slice(0, 1 + size_t(n_maps)).vec());
        context->saved_data["type"] = int64_t(type);
        context->saved_data["biases"] = !biases.empty();
        variable_list out;
        int64_t begin = 0;
        for (const auto& weight : weights) {
            out.push_back(weight.size(0) == all ? y : y.narrow(1, begin, weight.size(0)));
            begin += weight.size(0);
        }
        return out;
    }

    static variable_list backward(AutogradContext* context, const variable_list& gradients)
    {
        const auto saved = context->get_saved_variables();
        const auto& x = saved[0];
        const OwnFunction scope(x.device());
        const auto type = at::ScalarType(context->saved_data["type"].toInt());
        const auto n_maps = saved.size() - 1;
        const bool biases = context->saved_data["biases"].toBool();
        const auto rows = x.size(0), in = aligned(x.size(1), rows);
        const auto from = widened(x, in, type);
        variable_list result(1 + (biases ? 2 : 1) * n_maps + 2);
        at::Tensor of_x;
        for (size_t i = 0; i < n_maps; ++i) {
            if (!gradients[i].defined())
                continue;
            const auto& weight = saved[1 + i];
            const auto width = weight.size(0), wide = aligned(width, rows);
            const auto own = gradients[i].to(type);
            const auto grad = widened(own, wide, type);
            result[1 + i] = product_in_float(grad.t(), from).narrow(0, 0, width).narrow(1, 0, x.size(1));
            if (biases)
                result[1 + n_maps + i] = row_sums(own);
            if (!x.requires_grad())
                continue;
            const auto matrix = joined(weight, wide, in, type);
            of_x = of_x.defined() ? of_x.addmm_(grad, matrix) : at::mm(grad, matrix);
        }
        if (of_x.defined())
            result[0] = of_x.narrow(1, 0, x.size(1)).to(x.scalar_type());
        return result;
    }
};

at::ScalarType type_of_product(const at::Tensor& x)
{
    const auto autocast = AutocastState::current().cuda;
    return autocast.enabled ? autocast.dtype : x.scalar_type();
}

bool is_narrow(at::ScalarType type)
{
    return type == at::kFloat || type == at::kBFloat16;
}

} // namespace

bool linear_cuda_takes(const at::Tensor& x, const std::vector<LinearMap>& maps)
{
    return x.is_cuda() && x.dim() >= 2 && x.numel() > 0 && is_narrow(x.scalar_type()) &&
           is_narrow(type_of_product(x)) && std::all_of(maps.begin(), maps.end(), [](const LinearMap& map) {
               return map.weight.scalar_type() == at::kFloat;
           });
}

std::vector<at::Tensor> linear_on_cuda(const at::Tensor& x, const std::vector<LinearMap>& maps)
{
    const auto shape = x.sizes().vec();
    variable_list operands = {x.dim() == 2 ? x : x.reshape({-1, x.size(-1)})};
    for (const auto& map : maps)
        operands.push_back(map.weight);
    for (const auto& map : maps)
        if (map.bias.defined())
            operands.push_back(map.bias);
    GRADWIND_ASSERT(operands.size() == 1 + maps.size() || operands.size() == 1 + 2 * maps.size());
    auto result = LinearCuda::apply(at::TensorList(operands), int64_t(maps.size()), type_of_product(x));
    if (x.dim() > 2)
        for (auto& y : result) {
            auto wanted = shape;
            wanted.back() = y.size(1);
            y = y.reshape(wanted);
        }
    return result;
}

} // namespace gradwind::ops::detail
