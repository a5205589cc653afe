// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Building blocks of every network: linear maps, normalisation, multi-layer perceptrons (spec §2.7, §3.1).
#pragma once
#include "gradwind/model/uniform_stream.h"
#include "gradwind/ops/activation.h"
#include "gradwind/ops/row_mlp.h"

#include <torch/nn/module.h>

#include <optional>
#include <vector>

namespace gradwind::model
{

/// The layer kernels of a configuration (`layer_kernels`).
struct LayerKernels {
    ops::Activation activation = ops::Activation::Gelu;
    /// Whether a normalisation returns the type of its input (AutocastLayerNorm) or, under autocast, float32.
    enum class NormResult { InputType, Promoted } norm_result = NormResult::InputType;
};

/// y = x W^T + b with `weight` [out, in] and `bias` [out].
class Linear : public torch::nn::Module
{
public:
    Linear(int64_t in, int64_t out);
    [[nodiscard]] at::Tensor forward(const at::Tensor& x) const;
    /// The part of the map that belongs to input columns [begin, begin + x.size(1)), without the bias.
    [[nodiscard]] at::Tensor part(const at::Tensor& x, int64_t begin) const;
    void draw(UniformStream& stream);
    void set_zero();

    at::Tensor weight;
    at::Tensor bias;
};

/// Normalisation over the last dimension, eps 1e-5.
class LayerNorm : public torch::nn::Module
{
public:
    LayerNorm(int64_t channels, LayerKernels::NormResult result);
    [[nodiscard]] at::Tensor forward(const at::Tensor& x) const;
    void reset();

    at::Tensor weight;
    at::Tensor bias;

private:
    LayerKernels::NormResult result_;
};

enum class MlpKind { Mlp, Glu, SwiGlu, GeGlu, ReGlu };

struct MlpOptions {
    int64_t in = 0;
    int64_t hidden = 0;
    int64_t out = 0;
    int64_t extra_layers = 0; ///< hidden layers beyond the first
    MlpKind kind = MlpKind::Mlp;
    enum class Norm { None, Last } norm = Norm::Last;
    LayerKernels kernels;
};

/// One operand of a first layer that is computed in parts: rows for input columns [column, column + rows.size(1)),
/// spread to the result's rows by `spread` after the product.
struct SplitOperand {
    at::Tensor rows;
    int64_t column = 0;
    std::function<at::Tensor(const at::Tensor&)> spread = nullptr;
};

/// A hidden layer: Linear and activation, or for the gated kinds f(gate) * value.
class HiddenLayer : public torch::nn::Module
{
public:
    HiddenLayer(int64_t in, int64_t out, MlpKind kind, ops::Activation activation);
    [[nodiscard]] at::Tensor forward(const at::Tensor& x) const;
    [[nodiscard]] at::Tensor forward_split(const std::vector<SplitOperand>& operands) const;
    [[nodiscard]] const std::vector<std::shared_ptr<Linear>>& linears() const { return linears_; }

private:
    [[nodiscard]] at::Tensor combine(const at::Tensor& first, const at::Tensor& second) const;
    MlpKind kind_;
    ops::Activation activation_;
    std::vector<std::shared_ptr<Linear>> linears_; ///< one, or gate and value
};

/// Linear layers with activations between them and a normalisation after the last (spec §3.1).
class Mlp : public torch::nn::Module
{
public:
    explicit Mlp(const MlpOptions& options);
    /// @param x [rows, in] @return [rows, out]
    [[nodiscard]] at::Tensor forward(const at::Tensor& x) const;
    /// forward() of the concatenation of the operands, without making it.
    [[nodiscard]] at::Tensor forward_split(const std::vector<SplitOperand>& operands) const;
    /// Whether ops::row_mlp computes this perceptron for rows of the type and device of `like`.
    [[nodiscard]] bool by_rows(const at::Tensor& like) const;
    /// What ops::row_mlp takes of this perceptron.
    [[nodiscard]] ops::RowMlpWeights row_weights() const;
    /// Draws the weights in the order in which the original makes them.
    void draw(UniformStream& stream);
    void set_output_zero() { output_->set_zero(); }
    [[nodiscard]] const MlpOptions& options() const { return options_; }
    [[nodiscard]] const std::vector<std::shared_ptr<HiddenLayer>>& hidden() const { return hidden_; }
    [[nodiscard]] const Linear& output() const { return *output_; }
    [[nodiscard]] const LayerNorm* norm() const { return norm_.get(); }

private:
    [[nodiscard]] at::Tensor after_first(at::Tensor x) const;
    MlpOptions options_;
    std::vector<std::shared_ptr<HiddenLayer>> hidden_;
    std::shared_ptr<Linear> output_;
    std::shared_ptr<LayerNorm> norm_;
};

/// A node of the module tree that only gives its children a common name.
class Group : public torch::nn::Module
{
public:
    using torch::nn::Module::register_buffer;
    using torch::nn::Module::register_module;
    using torch::nn::Module::register_parameter;
};

} // namespace gradwind::model
