// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/ops/projection.h"

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

/// A matrix by rows: elements ptr[i] .. ptr[i + 1] of row i are at `order` (themselves if undefined).
struct Rows {
    at::Tensor ptr, order, col, row_of_element, weights;
};

template <class T>
void multiply_cpu(const at::Tensor& x, const Rows& rows, at::Tensor& out)
{
    const auto n_rows = out.size(1), n_cols = x.size(1), channels = x.size(2);
    const auto* in = x.data_ptr<T>();
    const auto* begin = rows.ptr.data_ptr<int64_t>();
    const auto* position = rows.order.defined() ? rows.order.data_ptr<int64_t>() : nullptr;
    const auto* col = rows.col.data_ptr<int64_t>();
    const auto* weight = rows.weights.data_ptr<double>();
    auto* result = out.data_ptr<T>();
    at::parallel_for(0, x.size(0) * n_rows, 64, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) {
            const auto row = i % n_rows;
            const auto* field = in + i / n_rows * n_cols * channels;
            auto* sum = result + i * channels;
            std::fill(sum, sum + channels, T(0));
            for (int64_t k = begin[row]; k < begin[row + 1]; ++k) {
                const auto element = position ? position[k] : k;
                const auto factor = T(weight[element]);
                const auto* from = field + col[element] * channels;
                for (int64_t c = 0; c < channels; ++c)
                    sum[c] += factor * from[c];
            }
        }
    });
}

/// @param x [fields, columns, channels] @return [fields, rows, channels]
at::Tensor multiply(const at::Tensor& x, const Rows& rows)
{
    auto out = at::zeros({x.size(0), rows.ptr.size(0) - 1, x.size(2)}, x.options());
    if (!x.is_cpu()) {
        const auto factors = rows.weights.to(x.scalar_type()).reshape({1, -1, 1});
        return out.index_add_(1, rows.row_of_element, x.index_select(1, rows.col) * factors);
    }
    const auto dense = x.contiguous();
    AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, x.scalar_type(), "project",
                                    [&] { multiply_cpu<scalar_t>(dense, rows, out); });
    return out;
}

struct Project : torch::autograd::Function<Project> {
    static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const Projection& matrix)
    {
        const auto& edges = matrix.edges;
        context->save_for_backward({edges.src_ptr, edges.by_src, edges.dst, edges.src, matrix.weights});
        return multiply(x, {edges.dst_ptr, {}, edges.src, edges.dst, matrix.weights});
    }
    static variable_list backward(AutogradContext* context, variable_list gradients)
    {
        const auto saved = context->get_saved_variables();
        return {multiply(gradients[0], {saved[0], saved[1], saved[2], saved[3], saved[4]}), {}};
    }
};

} // namespace

void Projection::move_to(at::Device device)
{
    if (weights.device() != device)
        *this = {edges.to(device), weights.to(device)};
}

Projection make_projection(std::span<const int64_t> row_ptr, std::span<const int64_t> col,
                           std::span<const double> values, int64_t n_cols)
{
    GRADWIND_CHECK(!row_ptr.empty() && col.size() == values.size() && row_ptr.back() == int64_t(col.size()), ShapeError,
                   "[projection] {} row pointers, {} columns and {} values do not make a matrix", row_ptr.size(),
                   col.size(), values.size());
    std::vector<int64_t> dst;
    dst.reserve(col.size());
    for (size_t row = 0; row + 1 < row_ptr.size(); ++row)
        dst.insert(dst.end(), size_t(std::max<int64_t>(row_ptr[row + 1] - row_ptr[row], 0)), int64_t(row));
    return {make_edge_index(col, dst, n_cols, int64_t(row_ptr.size()) - 1),
            at::tensor(at::ArrayRef<double>(values.data(), values.size()), at::kDouble)};
}

at::Tensor project(const at::Tensor& x, const Projection& matrix)
{
    GRADWIND_CHECK(x.dim() >= 2 && x.size(-2) == matrix.edges.n_src, ShapeError,
                   "[project] expected fields of [..., {}, channels], found [{}]", matrix.edges.n_src,
                   fmt::join(x.sizes().vec(), ", "));
    auto shape = x.sizes().vec();
    int64_t n_fields = 1; // counted, not asked for: there may be no columns
    for (size_t i = 0; i + 2 < shape.size(); ++i)
        n_fields *= shape[i];
    shape[shape.size() - 2] = matrix.edges.n_dst;
    return Project::apply(x.reshape({n_fields, x.size(-2), x.size(-1)}), matrix).reshape(shape);
}

} // namespace gradwind::ops
