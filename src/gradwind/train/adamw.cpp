// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/adamw.h"

#include "gradwind/core/error.h"
#include "gradwind/train/adamw_kernel.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>
#include <limits>

namespace gradwind::train
{

namespace
{

// Elements of one unit of work: 4 arenas of 128 KiB; the order of the norm's summation follows from it.
constexpr int64_t kBlock = 32768;

bool is_fused(const at::Tensor& tensor)
{
    return tensor.device().is_cpu() && tensor.scalar_type() == at::kFloat;
}

} // namespace

AdamW::AdamW(std::vector<parallel::Slice> slices, at::Tensor parameters, at::Tensor gradients,
             const AdamWOptions& options, const ClipOptions& clip)
    : slices_(std::move(slices)), parameters_(std::move(parameters)), gradients_(std::move(gradients)),
      options_(options), clip_(clip)
{
    GRADWIND_CHECK(parameters_.dim() == 1 && parameters_.is_contiguous() && gradients_.is_contiguous() &&
                       parameters_.sizes() == gradients_.sizes() &&
                       parameters_.scalar_type() == gradients_.scalar_type(),
                   InternalError, "[adamw] expected flat arenas of one size and type");
    for (const auto& slice : slices_)
        GRADWIND_ASSERT(slice.offset >= 0 && slice.offset + slice.numel <= parameters_.numel());
    exp_avg_ = at::zeros_like(parameters_);
    exp_avg_sq_ = at::zeros_like(parameters_);
}

void AdamW::move_to(std::vector<parallel::Slice> slices, at::Tensor parameters, at::Tensor gradients)
{
    exp_avg_ = parallel::rearrange(exp_avg_, slices_, slices);
    exp_avg_sq_ = parallel::rearrange(exp_avg_sq_, slices_, slices);
    slices_ = std::move(slices);
    parameters_ = std::move(parameters);
    gradients_ = std::move(gradients);
}

double AdamW::gradient_norm() const
{
    if (!is_fused(gradients_))
        return gradients_.to(at::kDouble).square().sum().sqrt().item<double>();
    const int64_t count = gradients_.numel(), n_blocks = (count + kBlock - 1) / kBlock;
    std::vector<double> sums(static_cast<size_t>(n_blocks));
    const float* values = gradients_.data_ptr<float>();
    at::parallel_for(0, n_blocks, 1, [&](int64_t first, int64_t last) {
        for (int64_t block = first; block < last; ++block)
            sums[size_t(block)] =
                detail::sum_of_squares(values + block * kBlock, std::min(kBlock, count - block * kBlock));
    });
    double total = 0;
    for (const double sum : sums)
        total += sum;
    return std::sqrt(total);
}

std::string AdamW::first_non_finite() const
{
    for (const auto& slice : slices_)
        if (!at::isfinite(gradients_.narrow(0, slice.offset, slice.numel)).all().item<bool>())
            return slice.name;
    return "a gradient outside all parameters";
}

OptimizerStep AdamW::step(double lr)
{
    const at::NoGradGuard no_grad;
    OptimizerStep result;
    result.grad_norm = gradient_norm();
    if (!std::isfinite(result.grad_norm)) {
        result.applied = false;
        result.non_finite_parameter = first_non_finite();
        return result;
    }
    ++steps_;
    // torch.nn.utils.clip_grad_norm_: the factor has 1e-6 added to the norm and never enlarges.
    const double scale =
        clip_.kind == ClipKind::Norm ? std::min(1.0, clip_.threshold / (result.grad_norm + 1e-6)) : 1.0;
    if (is_fused(parameters_))
        apply_fused(lr, scale);
    else
        apply_generic(lr, scale);
    return result;
}

void AdamW::apply_fused(double lr, double scale)
{
    const double bc1 = 1.0 - std::pow(options_.beta1, double(steps_));
    const double bc2 = 1.0 - std::pow(options_.beta2, double(steps_));
    const detail::AdamWFactors factors{
        .decay = float(1.0 - lr * options_.weight_decay),
        .one_minus_beta1 = float(1.0 - options_.beta1),
        .beta2 = float(options_.beta2),
        .one_minus_beta2 = float(1.0 - options_.beta2),
        .step_size = float(lr / bc1),
        .inverse_sqrt_bc2 = float(1.0 / std::sqrt(bc2)),
        .eps = float(options_.eps),
        .scale = float(scale),
        .limit = clip_.kind == ClipKind::Value ? float(clip_.threshold) : std::numeric_limits<float>::infinity(),
    };
    const int64_t count = parameters_.numel(), n_blocks = (count + kBlock - 1) / kBlock;
    auto* parameter = parameters_.data_ptr<float>();
    auto* exp_avg = exp_avg_.data_ptr<float>();
    auto* exp_avg_sq = exp_avg_sq_.data_ptr<float>();
    const auto* gradient = gradients_.data_ptr<float>();
    at::parallel_for(0, n_blocks, 1, [&](int64_t first, int64_t last) {
        const int64_t at = first * kBlock, n = std::min(last * kBlock, count) - at;
        detail::adamw_range(parameter + at, exp_avg + at, exp_avg_sq + at, gradient + at, n, factors);
    });
}

void AdamW::apply_generic(double lr, double scale)
{
    const double bc1 = 1.0 - std::pow(options_.beta1, double(steps_));
    const double bc2 = 1.0 - std::pow(options_.beta2, double(steps_));
    auto gradient = gradients_;
    if (clip_.kind == ClipKind::Value)
        gradient = gradient.clamp(-clip_.threshold, clip_.threshold);
    else if (scale < 1.0)
        gradient = gradient * scale;
    parameters_.mul_(1.0 - lr * options_.weight_decay);
    exp_avg_.lerp_(gradient, 1.0 - options_.beta1);
    exp_avg_sq_.mul_(options_.beta2).addcmul_(gradient, gradient, 1.0 - options_.beta2);
    const auto denominator = exp_avg_sq_.sqrt().div_(std::sqrt(bc2)).add_(options_.eps);
    parameters_.addcdiv_(exp_avg_, denominator, -lr / bc1);
}

std::vector<std::pair<std::string, at::Tensor>> AdamW::state() const
{
    std::vector<std::pair<std::string, at::Tensor>> result;
    for (const auto& slice : slices_) {
        result.emplace_back("exp_avg." + slice.name, exp_avg_.narrow(0, slice.offset, slice.numel).view(slice.shape));
        result.emplace_back("exp_avg_sq." + slice.name,
                            exp_avg_sq_.narrow(0, slice.offset, slice.numel).view(slice.shape));
    }
    return result;
}

} // namespace gradwind::train
