// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/ops/layer_norm.h"

#include "gradwind/core/torch_version.h"
#include "gradwind/ops/layer_norm_impl.h"

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>

namespace gradwind::ops
{

namespace
{

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Rows whose weight gradients are summed by one thread.
constexpr int64_t kBlockRows = 256;

template <class T>
struct Rows {
    const T* x;
    const T* weight;
    T* mean;
    T* scale; ///< 1 / sqrt(variance + epsilon)
    int64_t channels;
};

template <class T>
void normalise(const Rows<T>& rows, const T* bias, T epsilon, T* y, int64_t first, int64_t last)
{
    const auto n = rows.channels;
    for (int64_t i = first; i < last; ++i) {
        const T* x = rows.x + i * n;
        T sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t c = 0; c < n; ++c)
            sum += x[c];
        const T mean = sum / T(n);
        T squares = 0;
#pragma omp simd reduction(+ : squares)
        for (int64_t c = 0; c < n; ++c)
            squares += (x[c] - mean) * (x[c] - mean);
        const T scale = T(1) / std::sqrt(squares / T(n) + epsilon);
        T* out = y + i * n;
#pragma omp simd
        for (int64_t c = 0; c < n; ++c)
            out[c] = (x[c] - mean) * scale * rows.weight[c] + bias[c];
        rows.mean[i] = mean;
        rows.scale[i] = scale;
    }
}

/// Gradients of rows [first, last): of x into `grad_x`, of weight and bias added to `grad_weight` and `grad_bias`.
template <class T>
void differentiate(const Rows<T>& rows, const T* grad, T* grad_x, T* grad_weight, T* grad_bias, int64_t first,
                   int64_t last)
{
    const auto n = rows.channels;
    for (int64_t i = first; i < last; ++i) {
        const T* x = rows.x + i * n;
        const T* g = grad + i * n;
        const T mean = rows.mean[i], scale = rows.scale[i];
        T along_one = 0, along_x = 0;
#pragma omp simd reduction(+ : along_one, along_x)
        for (int64_t c = 0; c < n; ++c) {
            const T unit = (x[c] - mean) * scale;
            const T inner = g[c] * rows.weight[c];
            along_one += inner;
            along_x += inner * unit;
        }
        along_one /= T(n);
        along_x /= T(n);
        T* out = grad_x + i * n;
#pragma omp simd
        for (int64_t c = 0; c < n; ++c) {
            const T unit = (x[c] - mean) * scale;
            out[c] = scale * (g[c] * rows.weight[c] - along_one - unit * along_x);
            grad_weight[c] += g[c] * unit;
            grad_bias[c] += g[c];
        }
    }
}

struct LayerNormFunction : torch::autograd::Function<LayerNormFunction> {
    static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                              const at::Tensor& bias, double epsilon)
    {
        const auto dense = x.contiguous();
        const auto channels = dense.size(-1);
        const auto n_rows = dense.numel() / channels;
        auto y = at::empty_like(dense);
        auto moments = at::empty({2, n_rows}, dense.options());
        AT_DISPATCH_FLOATING_TYPES(dense.scalar_type(), "layer_norm", [&] {
            const Rows<scalar_t> rows = {dense.data_ptr<scalar_t>(), weight.data_ptr<scalar_t>(),
                                         moments.data_ptr<scalar_t>(), moments.data_ptr<scalar_t>() + n_rows, channels};
            const auto* shift = bias.data_ptr<scalar_t>();
            auto* out = y.data_ptr<scalar_t>();
            at::parallel_for(0, n_rows, 64, [&](int64_t first, int64_t last) {
                normalise(rows, shift, scalar_t(epsilon), out, first, last);
            });
        });
        context->save_for_backward({dense, weight, moments});
        return y;
    }

    static variable_list backward(AutogradContext* context, variable_list gradients)
    {
        const auto saved = context->get_saved_variables();
        const auto& x = saved[0];
        const auto& weight = saved[1];
        const auto grad = gradients[0].contiguous();
        const auto channels = x.size(-1);
        const auto n_rows = x.numel() / channels;
        const auto n_blocks = (n_rows + kBlockRows - 1) / kBlockRows;
        auto grad_x = at::empty_like(x);
        auto partial = at::zeros({2, n_blocks, channels}, x.options());
        AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "layer_norm_backward", [&] {
            auto* moments = saved[2].data_ptr<scalar_t>();
            const Rows<scalar_t> rows = {x.data_ptr<scalar_t>(), weight.data_ptr<scalar_t>(), moments, moments + n_rows,
                                         channels};
            auto* sums = partial.data_ptr<scalar_t>();
            at::parallel_for(0, n_blocks, 1, [&](int64_t first, int64_t last) {
                for (int64_t block = first; block < last; ++block)
                    differentiate(rows, grad.data_ptr<scalar_t>(), grad_x.data_ptr<scalar_t>(), sums + block * channels,
                                  sums + (n_blocks + block) * channels, block * kBlockRows,
                                  std::min(n_rows, (block + 1) * kBlockRows));
            });
        });
        const auto sums = partial.sum(1);
        return {grad_x, sums[0], sums[1], {}};
    }
};

} // namespace

at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double epsilon)
{
    const bool own = x.is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble) &&
                     weight.scalar_type() == x.scalar_type() && weight.is_contiguous() &&
                     !AutocastState::current().cpu.enabled && x.numel() > 0;
    if (own)
        return LayerNormFunction::apply(x, weight, bias.defined() ? bias : at::zeros_like(weight), epsilon);
    if (detail::layer_norm_cuda_takes(x, weight))
        return detail::layer_norm_on_cuda(x, weight, bias, epsilon);
    return at::layer_norm(x, weight.sizes(), weight, bias, epsilon);
}

} // namespace gradwind::ops
