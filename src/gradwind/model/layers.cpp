// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/model/layers.h"

#include "gradwind/core/error.h"
#include "gradwind/core/torch_version.h"
#include "gradwind/ops/layer_norm.h"
#include "gradwind/ops/linear.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace gradwind::model
{

namespace
{

constexpr double kNormEpsilon = 1e-5;

using NormForm = LayerKernels::NormForm;

ops::Activation gate_function(MlpKind kind)
{
    switch (kind) {
    case MlpKind::Glu:
        return ops::Activation::Sigmoid;
    case MlpKind::SwiGlu:
        return ops::Activation::Silu;
    case MlpKind::GeGlu:
        return ops::Activation::Gelu;
    case MlpKind::ReGlu:
        return ops::Activation::Relu;
    case MlpKind::Mlp:
        break;
    }
    throw InternalError("[mlp] this kind has no gate");
}

at::Tensor split_product(const Linear& linear, const std::vector<SplitOperand>& operands)
{
    // The bias goes with the operand of the fewest rows, which need not be the first.
    size_t with_bias = 0;
    for (size_t i = 1; i < operands.size(); ++i)
        if (operands[i].rows.size(0) < operands[with_bias].rows.size(0))
            with_bias = i;
    at::Tensor sum;
    for (size_t i = 0; i < operands.size(); ++i) {
        const auto& operand = operands[i];
        auto term = linear.part(operand.rows, operand.column);
        if (i == with_bias)
            term = term + linear.bias.to(term.scalar_type());
        if (operand.spread)
            term = operand.spread(term);
        sum = sum.defined() ? sum + term : term;
    }
    return sum;
}

} // namespace

Linear::Linear(int64_t in, int64_t out, Bias with_bias)
{
    weight = register_parameter("weight", at::zeros({out, in}));
    if (with_bias == Bias::Yes)
        bias = register_parameter("bias", at::zeros({out}));
}

at::Tensor Linear::forward(const at::Tensor& x) const
{
    return ops::linear(x, {{weight, bias}}).front();
}

at::Tensor Linear::part(const at::Tensor& x, int64_t begin) const
{
    return at::linear(x, weight.narrow(1, begin, x.size(1)));
}

void Linear::draw(UniformStream& stream)
{
    // The two bounds are equal on paper; the original computes them by these two formulas.
    const auto fan_in = double(weight.size(1));
    const auto weight_bound = std::sqrt(3.0) * (std::sqrt(2.0 / (1.0 + 5.0)) / std::sqrt(fan_in));
    const auto bias_bound = 1.0 / std::sqrt(fan_in);
    stream.fill(weight, -weight_bound, weight_bound);
    if (bias.defined())
        stream.fill(bias, -bias_bound, bias_bound);
}

void Linear::set_zero()
{
    const at::NoGradGuard no_gradients;
    weight.zero_();
    if (bias.defined())
        bias.zero_();
}

std::shared_ptr<Norm> make_norm(const LayerKernels& kernels, int64_t channels)
{
    if (kernels.condition_width > 0)
        return std::make_shared<ConditionalLayerNorm>(channels, kernels);
    return std::make_shared<LayerNorm>(channels, kernels.norm);
}

LayerNorm::LayerNorm(int64_t channels, const NormForm& form) : form_(form), channels_(channels)
{
    if (form.weights != NormForm::Weights::None)
        weight = register_parameter("weight", at::ones({channels}));
    if (form.weights == NormForm::Weights::ScaleAndShift && form.kind == NormForm::Kind::Layer)
        bias = register_parameter("bias", at::zeros({channels}));
}

double LayerNorm::epsilon(at::ScalarType type) const
{
    if (form_.epsilon)
        return *form_.epsilon;
    if (form_.kind == NormForm::Kind::Layer)
        return kNormEpsilon;
    if (type == at::kDouble)
        return std::numeric_limits<double>::epsilon();
    return type == at::kFloat ? double(std::numeric_limits<float>::epsilon()) : 0x1p-7;
}

at::Tensor LayerNorm::forward(const at::Tensor& x, const at::Tensor& /*cond*/) const
{
    const auto guard = epsilon(x.scalar_type());
    at::Tensor y;
    if (form_.kind == NormForm::Kind::RootMeanSquare) {
        y = x * (x.square().mean(-1, true) + guard).rsqrt();
        if (weight.defined())
            y = y * weight;
    } else {
        y = ops::layer_norm(x, weight.defined() ? weight : at::ones({channels_}, x.options()), bias, guard);
    }
    return form_.result == LayerKernels::NormResult::InputType ? y.to(x.scalar_type()) : y;
}

void LayerNorm::draw(UniformStream& /*stream*/)
{
    reset();
}

void LayerNorm::reset()
{
    const at::NoGradGuard no_gradients;
    if (weight.defined())
        weight.fill_(1);
    if (bias.defined())
        bias.zero_();
}

ConditionalLayerNorm::ConditionalLayerNorm(int64_t channels, const LayerKernels& kernels)
    : result_(kernels.norm.result), start_(kernels.condition_start)
{
    scale_ = register_module("scale", std::make_shared<Linear>(kernels.condition_width, channels));
    bias_ = register_module("bias", std::make_shared<Linear>(kernels.condition_width, channels));
}

at::Tensor ConditionalLayerNorm::forward(const at::Tensor& x, const at::Tensor& cond) const
{
    GRADWIND_CHECK(cond.defined() && cond.size(-1) == scale_->weight.size(1) &&
                       cond.numel() / cond.size(-1) == x.numel() / x.size(-1),
                   ShapeError,
                   "[conditional layer norm] expected a condition with {} columns and a row for each of the {} rows, "
                   "found {}",
                   scale_->weight.size(1), x.numel() / x.size(-1),
                   cond.defined() ? fmt::format("[{}]", fmt::join(cond.sizes().vec(), ", ")) : "none");
    // What is multiplied next stays in float32 where the result does.
    const auto wide = result_ == LayerKernels::NormResult::Promoted && x.is_cuda() ? x.to(at::kFloat) : x;
    const auto unit = ops::layer_norm(wide, at::ones({x.size(-1)}, scale_->weight.options()), {}, kNormEpsilon);
    const auto y = unit * (scale_->forward(cond) + 1) + bias_->forward(cond);
    return result_ == LayerKernels::NormResult::InputType ? y.to(x.scalar_type()) : y;
}

void ConditionalLayerNorm::draw(UniformStream& stream)
{
    for (const auto& linear : {scale_, bias_}) {
        linear->draw(stream);
        if (start_ == LayerKernels::ConditionStart::Zero)
            linear->set_zero();
    }
}

DataExtractor::DataExtractor(int64_t channels, int64_t out, const NormForm& norm)
{
    norm_ = register_module("0", std::make_shared<LayerNorm>(channels, norm));
    linear_ = register_module("1", std::make_shared<Linear>(channels, out));
}

at::Tensor DataExtractor::forward(const at::Tensor& x) const
{
    return linear_->forward(norm_->forward(x));
}

void DataExtractor::draw(UniformStream& stream, OutputWeights weights)
{
    norm_->reset();
    linear_->draw(stream);
    if (weights == OutputWeights::Zero)
        linear_->set_zero();
}

HiddenLayer::HiddenLayer(int64_t in, int64_t out, MlpKind kind, ops::Activation activation)
    : kind_(kind), activation_(kind == MlpKind::Mlp ? activation : gate_function(kind))
{
    if (kind == MlpKind::Mlp) {
        linears_ = {std::make_shared<Linear>(in, out)};
        return;
    }
    linears_ = {register_module("gate_proj", std::make_shared<Linear>(in, out)),
                register_module("value_proj", std::make_shared<Linear>(in, out))};
}

at::Tensor HiddenLayer::combine(const at::Tensor& first, const at::Tensor& second) const
{
    const auto activated = ops::activate(first, activation_);
    return second.defined() ? activated * second : activated;
}

at::Tensor HiddenLayer::forward(const at::Tensor& x) const
{
    return combine(linears_[0]->forward(x), linears_.size() > 1 ? linears_[1]->forward(x) : at::Tensor());
}

at::Tensor HiddenLayer::forward_split(const std::vector<SplitOperand>& operands) const
{
    return combine(split_product(*linears_[0], operands),
                   linears_.size() > 1 ? split_product(*linears_[1], operands) : at::Tensor());
}

Mlp::Mlp(const MlpOptions& options) : options_(options)
{
    const auto layers = register_module("mlp", std::make_shared<Group>());
    int64_t slot = 0;
    for (int64_t i = 0; i <= options.extra_layers; ++i) {
        auto layer = std::make_shared<HiddenLayer>(i == 0 ? options.in : options.hidden, options.hidden, options.kind,
                                                   options.kernels.activation);
        // A plain layer takes two places of the original's sequence (Linear, activation), a gated one takes one.
        if (options.kind == MlpKind::Mlp) {
            layers->register_module(std::to_string(slot), layer->linears().front());
            slot += 2;
        } else {
            layers->register_module(std::to_string(slot), layer);
            slot += 1;
        }
        hidden_.push_back(std::move(layer));
    }
    output_ = layers->register_module(std::to_string(slot), std::make_shared<Linear>(options.hidden, options.out));
    if (options.norm == MlpOptions::Norm::Last)
        norm_ = register_module("layer_norm", std::make_shared<LayerNorm>(options.out, options.kernels.norm));
}

at::Tensor Mlp::after_first(at::Tensor x) const
{
    for (size_t i = 1; i < hidden_.size(); ++i)
        x = hidden_[i]->forward(x);
    x = output_->forward(x);
    return norm_ ? norm_->forward(x) : x;
}

bool Mlp::by_rows(const at::Tensor& like) const
{
    // The normalisation is part of the rows' kernels: both results of a norm are alike unless autocast is on.
    const bool one_type = like.scalar_type() == output_->weight.scalar_type();
    const bool keeps_type = !norm_ || options_.kernels.norm.result == LayerKernels::NormResult::InputType;
    const bool fits = !norm_ || options_.kernels.norm.is_common();
    return options_.kind == MlpKind::Mlp && fits && (like.is_cuda() ? keeps_type : one_type) &&
           ops::row_mlp_takes(like, options_.kernels.activation, hidden_.size() + 1);
}

ops::RowMlpWeights Mlp::row_weights() const
{
    ops::RowMlpWeights out;
    const auto add = [&](const Linear& linear) {
        out.weights.push_back(linear.weight);
        out.biases.push_back(linear.bias);
    };
    for (const auto& layer : hidden_)
        add(*layer->linears().front());
    add(*output_);
    if (norm_) {
        out.norm_weight = norm_->weight;
        out.norm_bias = norm_->bias;
        out.epsilon = norm_->epsilon(norm_->weight.scalar_type());
    }
    return out;
}

at::Tensor Mlp::forward(const at::Tensor& x) const
{
    if (x.dim() == 2 && by_rows(x))
        return ops::row_mlp(row_weights(), {{x}}).rows;
    return after_first(hidden_.front()->forward(x));
}

at::Tensor Mlp::forward_split(const std::vector<SplitOperand>& operands) const
{
    return after_first(hidden_.front()->forward_split(operands));
}

void Mlp::draw(UniformStream& stream)
{
    for (const auto& layer : hidden_)
        for (const auto& linear : layer->linears())
            linear->draw(stream);
    output_->draw(stream);
    if (norm_)
        norm_->reset();
}

} // namespace gradwind::model
