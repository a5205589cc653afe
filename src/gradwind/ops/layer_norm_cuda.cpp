// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/ops/layer_norm_impl.h"
#include "gradwind/ops/own_function.h"
#include "gradwind/ops/row_mlp_cuda_kernels.h"
#include "gradwind/ops/row_sums_cuda.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/csrc/autograd/custom_function.h>

namespace gradwind::ops::detail
{

namespace
{

using namespace row_mlp_cuda;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// A warp takes a row: shorter ones would leave most of it idle.
constexpr int64_t kFewestChannels = 128;
/// And holds it in registers: longer ones do not fit.
constexpr int64_t kMostChannels = 2048;

Launch launch_over(const at::Tensor& x)
{
    const auto channels = x.size(-1);
    return {x.scalar_type() == at::kBFloat16 ? Real::BFloat16 : Real::Float, x.numel() / channels, channels,
            c10::cuda::getCurrentCUDAStream(x.device().index()).stream()};
}

Norm norm_of(const at::Tensor& weight, const at::Tensor& bias, double epsilon)
{
    return {weight.data_ptr<float>(), bias.defined() ? bias.data_ptr<float>() : nullptr, float(epsilon)};
}

struct LayerNormCuda : torch::autograd::Function<LayerNormCuda> {
    static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                              const c10::optional<at::Tensor>& bias, double epsilon)
    {
        const OwnFunction scope(x.device());
        const auto dense = x.contiguous();
        const auto shift = bias.value_or(at::Tensor());
        auto y = at::empty_like(dense);
        finish(launch_over(dense), dense.data_ptr(), nullptr, norm_of(weight, shift, epsilon), nullptr, y.data_ptr());
        context->save_for_backward({dense, weight, shift});
        context->saved_data["epsilon"] = epsilon;
        return y;
    }

    static variable_list backward(AutogradContext* context, const variable_list& gradients)
    {
        const auto saved = context->get_saved_variables();
        const auto& x = saved[0];
        const OwnFunction scope(x.device());
        const auto grad = gradients[0].to(x.scalar_type()).contiguous();
        const auto launch = launch_over(x);
        auto grad_x = at::empty_like(x);
        const auto parts =
            at::empty({2, count_parts(launch.rows), launch.width}, x.options().dtype(at::kFloat).requires_grad(false));
        finish_backward(launch, x.data_ptr(), nullptr,
                        norm_of(saved[1], saved[2], context->saved_data["epsilon"].toDouble()),
                        {.rows = grad.data_ptr()}, grad_x.data_ptr(), nullptr,
                        {.norm_weight = parts[0].data_ptr<float>(), .norm_bias = parts[1].data_ptr<float>()});
        const auto sums = sum_of_parts(parts);
        return {grad_x, sums[0], saved[2].defined() ? sums[1] : at::Tensor(), {}};
    }
};

} // namespace

bool layer_norm_cuda_takes(const at::Tensor& x, const at::Tensor& weight)
{
    return x.is_cuda() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) &&
           weight.scalar_type() == at::kFloat && weight.is_contiguous() && x.size(-1) >= kFewestChannels &&
           x.size(-1) <= kMostChannels && x.numel() > 0;
}

at::Tensor layer_norm_on_cuda(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double epsilon)
{
    return LayerNormCuda::apply(x, weight, bias.defined() ? c10::optional<at::Tensor>(bias) : c10::nullopt, epsilon);
}

} // namespace gradwind::ops::detail
