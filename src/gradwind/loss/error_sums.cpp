// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/loss/error_sums.h"

#include "gradwind/core/error.h"
#include "gradwind/loss/error_kernels.h"
#include "gradwind/ops/device_constants.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>

namespace gradwind::loss
{

namespace
{

std::string shape_of(const at::Tensor& tensor)
{
    return fmt::format("[{}]", fmt::join(tensor.sizes().vec(), ", "));
}

void check_shapes(const at::Tensor& pred, const at::Tensor& target, const ErrorSpec& spec, const ErrorWeights& weights)
{
    GRADWIND_CHECK(pred.dim() == 5 && target.dim() == 5, ShapeError,
                   "[loss] expected prediction and target of 5 dimensions (batch, time, ensemble, grid, variable), got "
                   "{} and {}",
                   shape_of(pred), shape_of(target));
    const bool fits = pred.size(0) == target.size(0) && pred.size(1) == target.size(1) && target.size(2) == 1 &&
                      pred.size(3) == target.size(3);
    GRADWIND_CHECK(fits, ShapeError,
                   "[loss] prediction {} and target {} differ in batch, time or grid, or the target has members",
                   shape_of(pred), shape_of(target));
    GRADWIND_CHECK(weights.grid.numel() == pred.size(3), ShapeError,
                   "[loss] the prediction {} has {} grid points, the weights have {}", shape_of(pred), pred.size(3),
                   weights.grid.numel());
    GRADWIND_CHECK(weights.time.numel() == 1 || weights.time.numel() == pred.size(1), ShapeError,
                   "[loss] the prediction {} has {} output steps, the time weights {}", shape_of(pred), pred.size(1),
                   weights.time.numel());
    GRADWIND_CHECK(spec.kind != ErrorKind::Crps || pred.size(2) > 1, ShapeError,
                   "[loss] CRPS needs at least two members, got the prediction {}", shape_of(pred));
    const auto& mask = weights.nan_mask;
    GRADWIND_CHECK(!mask.defined() || (mask.dim() == 3 && mask.size(0) == pred.size(0) &&
                                       mask.size(1) == pred.size(3) && mask.size(2) == pred.size(4)),
                   ShapeError,
                   "[loss] the NaN mask {} does not fit the prediction {}: expected (batch, grid, variable)",
                   shape_of(mask), shape_of(pred));
}

/// Operands of the fused kernels: contiguous, of one floating type; weights as plain vectors of it.
template <class Scalar>
struct Operands {
    at::Tensor pred, target, mask;
    std::vector<double> time;
    at::Tensor grid;
    std::vector<Segment> segments;

    Operands(const at::Tensor& p, const at::Tensor& t, const ErrorSpec& spec, const ErrorWeights& weights)
        : pred(p.contiguous()), target(t.contiguous()), grid(weights.grid.contiguous()),
          segments(find_segments(spec.pred_columns, spec.target_columns))
    {
        const auto time_weights = weights.time.to(at::kDouble).contiguous();
        time.assign(time_weights.data_ptr<double>(), time_weights.data_ptr<double>() + time_weights.numel());
        time.resize(size_t(pred.size(1)), time.front());
        if (weights.nan_mask.defined())
            mask = weights.nan_mask.to(pred.scalar_type()).contiguous();
    }

    [[nodiscard]] Field<Scalar> field(const ErrorSpec& spec) const
    {
        Field<Scalar> out;
        out.pred = pred.data_ptr<Scalar>();
        out.target = target.data_ptr<Scalar>();
        out.mask = mask.defined() ? mask.data_ptr<Scalar>() : nullptr;
        out.grid = grid.data_ptr<double>();
        out.time = time.data();
        out.segments = segments;
        out.batch = pred.size(0);
        out.steps = pred.size(1);
        out.members = pred.size(2);
        out.nodes = pred.size(3);
        out.pred_width = pred.size(4);
        out.target_width = target.size(4);
        out.variables = int64_t(spec.pred_columns.size());
        return out;
    }
};

class FusedErrorSums : public torch::autograd::Function<FusedErrorSums>
{
public:
    static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& pred,
                              const at::Tensor& target, const ErrorSpec& spec, const ErrorWeights& weights)
    {
        at::Tensor sums = at::zeros({int64_t(spec.pred_columns.size())}, at::kDouble);
        AT_DISPATCH_FLOATING_TYPES(pred.scalar_type(), "error_sums", [&] {
            const Operands<scalar_t> operands(pred, target, spec, weights);
            fused_sums(operands.field(spec), spec, sums.data_ptr<double>());
            context->save_for_backward({operands.pred, operands.target, operands.mask, operands.grid, weights.time});
        });
        context->saved_data["kind"] = int64_t(spec.kind);
        context->saved_data["nans"] = int64_t(spec.nans);
        context->saved_data["huber_delta"] = spec.huber_delta;
        context->saved_data["crps_alpha"] = spec.crps_alpha;
        context->saved_data["pred_columns"] = spec.pred_columns;
        context->saved_data["target_columns"] = spec.target_columns;
        return sums;
    }

    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                   const torch::autograd::variable_list& grads)
    {
        const auto saved = context->get_saved_variables();
        ErrorSpec spec;
        spec.kind = ErrorKind(context->saved_data["kind"].toInt());
        spec.nans = NanPolicy(context->saved_data["nans"].toInt());
        spec.huber_delta = context->saved_data["huber_delta"].toDouble();
        spec.crps_alpha = context->saved_data["crps_alpha"].toDouble();
        spec.pred_columns = context->saved_data["pred_columns"].toIntVector();
        spec.target_columns = context->saved_data["target_columns"].toIntVector();
        const ErrorWeights weights{saved[4], saved[3], saved[2], {}};
        const auto grad = grads[0].contiguous();
        const bool all_columns = int64_t(spec.pred_columns.size()) == saved[0].size(4);
        auto grad_pred = all_columns ? at::empty_like(saved[0]) : at::zeros_like(saved[0]);
        AT_DISPATCH_FLOATING_TYPES(saved[0].scalar_type(), "error_sums_backward", [&] {
            const Operands<scalar_t> operands(saved[0], saved[1], spec, weights);
            fused_gradient(operands.field(spec), spec, grad.data_ptr<double>(), grad_pred.data_ptr<scalar_t>());
        });
        return {grad_pred, {}, {}, {}};
    }
};

at::Tensor point_error(const at::Tensor& pred, const at::Tensor& target, const ErrorSpec& spec)
{
    const auto difference = pred - target;
    switch (spec.kind) {
    case ErrorKind::Squared:
        return difference.square();
    case ErrorKind::Absolute:
        return difference.abs();
    case ErrorKind::Huber:
        return at::huber_loss(pred, target.expand_as(pred), at::Reduction::None, spec.huber_delta);
    case ErrorKind::LogCosh: {
        const auto size = difference.abs();
        return size + at::softplus(size * -2) - std::log(2.0);
    }
    case ErrorKind::Crps:
        break;
    }
    const auto members = pred.size(2);
    const auto kept = 1 - (1 - spec.crps_alpha) / double(members);
    at::Tensor sum = difference.abs().sum(2, true) * double(members - 1);
    for (int64_t i = 0; i < members; ++i)
        sum = sum - (pred.narrow(2, i, 1) - pred.narrow(2, i + 1, members - i - 1)).abs().sum(2, true) * kept;
    return sum / double(members * (members - 1));
}

} // namespace

at::Tensor detail::error_sums_torch(const at::Tensor& pred, const at::Tensor& target, const ErrorSpec& spec,
                                    const ErrorWeights& weights)
{
    const auto options = pred.options();
    const auto columns = [&](const std::vector<int64_t>& list) { return ops::columns_on(list, pred.device()); };
    auto p = pred.index_select(4, columns(spec.pred_columns));
    auto t = target.to(pred.scalar_type()).index_select(4, columns(spec.target_columns));
    if (spec.nans == NanPolicy::Ignore) {
        auto nans = at::isnan(p + t);
        if (spec.kind == ErrorKind::Crps)
            nans = nans.any(2, true);
        p = p.masked_fill(nans, 0.0);
        t = t.expand_as(nans).masked_fill(nans, 0.0);
    }
    auto error = point_error(p, t, spec);
    if (weights.point.defined())
        error = error * weights.point.to(options);
    if (weights.nan_mask.defined()) {
        const auto mask = weights.nan_mask.to(options).index_select(2, columns(spec.pred_columns));
        error = error * mask.unsqueeze(1).unsqueeze(1);
    }
    error =
        error * weights.grid.to(options).reshape({1, 1, 1, -1, 1}) * weights.time.to(options).reshape({1, -1, 1, 1, 1});
    return error.sum(at::IntArrayRef{0, 1, 2, 3}, false, at::kDouble);
}

at::Tensor error_sums(const at::Tensor& pred, const at::Tensor& target, const ErrorSpec& spec,
                      const ErrorWeights& weights)
{
    check_shapes(pred, target, spec, weights);
    const auto type = pred.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    const auto p = pred.to(type);
    const auto t = target.to(type);
    // The fused loops have no gradient for the target: that of a training is data, and asks for none.
    if (!p.device().is_cpu() || weights.point.defined() || t.requires_grad())
        return detail::error_sums_torch(p, t, spec, weights);
    return FusedErrorSums::apply(p, t, spec, weights);
}

} // namespace gradwind::loss
