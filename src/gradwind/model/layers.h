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

/// Whether a layer has a bias.
enum class Bias { No, Yes };

/// The layer kernels of a configuration (`layer_kernels`).
struct LayerKernels {
    ops::Activation activation = ops::Activation::Gelu;
    /// Whether a normalisation returns the type of its input (AutocastLayerNorm) or, under autocast, float32.
    enum class NormResult { InputType, Promoted };
    struct NormForm {
        NormResult result = NormResult::InputType;
        enum class Kind { Layer, RootMeanSquare } kind = Kind::Layer;
        /// The parameters that it has; RootMeanSquare never has a bias.
        enum class Weights { None, Scale, ScaleAndShift } weights = Weights::ScaleAndShift;
        std::optional<double> epsilon = std::nullopt; ///< default: 1e-5; of RootMeanSquare the resolution of the type
        bool operator==(const NormForm&) const = default;
        /// Whether the fused kernels of perceptrons have it, whatever its epsilon.
        [[nodiscard]] bool is_common() const { return kind == Kind::Layer && weights == Weights::ScaleAndShift; }
    };
    NormForm norm;
    /// Columns of the condition of a ConditionalLayerNorm; 0 for a plain normalisation.
    int64_t condition_width = 0;
    /// What ConditionalLayerNorm starts as: a plain normalisation, or with the weights as drawn.
    enum class ConditionStart { Zero, Drawn } condition_start = ConditionStart::Zero;
    /// Of queries and keys, over the columns of a head.
    NormForm query_norm = {.weights = NormForm::Weights::Scale};
    NormForm key_norm = {.weights = NormForm::Weights::Scale};
};

/// y = x W^T + b with `weight` [out, in] and, where there is one, `bias` [out].
class Linear : public torch::nn::Module
{
public:
    Linear(int64_t in, int64_t out, Bias with_bias = Bias::Yes);
    [[nodiscard]] at::Tensor forward(const at::Tensor& x) const;
    /// The part of the map that belongs to input columns [begin, begin + x.size(1)), without the bias.
    [[nodiscard]] at::Tensor part(const at::Tensor& x, int64_t begin) const;
    void draw(UniformStream& stream);
    void set_zero();

    at::Tensor weight;
    at::Tensor bias;
};

/// A normalisation over the last dimension, with or without a condition.
class Norm : public torch::nn::Module
{
public:
    /// @param x [..., channels]
    /// @param cond [..., width of the condition]; undefined where the normalisation is not conditioned
    [[nodiscard]] virtual at::Tensor forward(const at::Tensor& x, const at::Tensor& cond = {}) const = 0;
    /// Sets the initial weights, drawing what the original draws on the way.
    virtual void draw(UniformStream& stream) = 0;
};

/// The normalisation that the layer kernels name: LayerNorm, or ConditionalLayerNorm with a condition.
[[nodiscard]] std::shared_ptr<Norm> make_norm(const LayerKernels& kernels, int64_t channels);

/// (x - mean) / sqrt(variance + eps) * `weight` + `bias`, or x / sqrt(mean of squares + eps) * `weight`.
class LayerNorm : public Norm
{
public:
    LayerNorm(int64_t channels, const LayerKernels::NormForm& form);
    /// Without a look at the condition.
    [[nodiscard]] at::Tensor forward(const at::Tensor& x, const at::Tensor& cond = {}) const override;
    void draw(UniformStream& stream) override;
    void reset();
    [[nodiscard]] double epsilon(at::ScalarType type) const;

    at::Tensor weight; ///< undefined without one
    at::Tensor bias;   ///< undefined without one

private:
    LayerKernels::NormForm form_;
    int64_t channels_;
};

/// (x - mean) / sqrt(variance + eps) * (1 + scale(cond)) + bias(cond), two Linears of the condition (spec §6.3).
class ConditionalLayerNorm : public Norm
{
public:
    ConditionalLayerNorm(int64_t channels, const LayerKernels& kernels);
    /// @throws ShapeError unless there is a row of the condition for each row of x
    [[nodiscard]] at::Tensor forward(const at::Tensor& x, const at::Tensor& cond) const override;
    /// Draws for both Linears, scale first; their values are zero all the same unless the kernels say otherwise.
    void draw(UniformStream& stream) override;

private:
    LayerKernels::NormResult result_;
    LayerKernels::ConditionStart start_;
    std::shared_ptr<Linear> scale_, bias_;
};

/// What the last layer of a decoder starts with (`initialise_data_extractor_zero`).
enum class OutputWeights { Drawn, Zero };

/// The normalisation of the extractors that are plain layers whatever the layer kernels are.
inline constexpr LayerKernels::NormForm kExtractorNorm = {.result = LayerKernels::NormResult::Promoted};

/// The end of a transformer's decoder: a normalisation and a linear map to the output columns (spec §4.4).
class DataExtractor : public torch::nn::Module
{
public:
    DataExtractor(int64_t channels, int64_t out, const LayerKernels::NormForm& norm);
    /// @param x [rows, channels] @return [rows, out]
    [[nodiscard]] at::Tensor forward(const at::Tensor& x) const;
    void draw(UniformStream& stream, OutputWeights weights);

private:
    std::shared_ptr<LayerNorm> norm_;
    std::shared_ptr<Linear> linear_;
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
