// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/config_keys.h"

namespace gradwind
{

namespace
{

constexpr KeySpec norm_keys[] = {
    {"bias", "bool", "true", "", "", "Whether it has a bias."},
    {"eps", "real", "1e-5", "> 0", "", "Guard against division by zero."},
    {"elementwise_affine", "bool", "true", "", "", "Whether it has weights."},
};
constexpr KeySpec conditional_keys[] = {
    {"normalized_shape", "int", "${model.num_channels}", ">= 1", "", "Width."},
    {"condition_shape", "int", "16", ">= 1", "", "Width of the noise that conditions."},
    {"zero_init", "bool", "true", "", "", "Start as a plain layer norm."},
    {"autocast", "bool", "true", "", "", "Give back the input's precision."},
};
constexpr KeySpec rms_keys[] = {
    {"eps", "real", "", "> 0", "", "Guard against division by zero; absent: the resolution of the type."},
    {"elementwise_affine", "bool", "true", "", "", "Whether it has weights."},
};
constexpr KeySpec inplace_key[] = {
    {"inplace", "ignored"},
};
constexpr KeySpec gelu_keys[] = {
    {"approximate", "string", "none", "none, tanh", "", "The exact one, or a formula near it."},
};
constexpr KeySpec slope_keys[] = {
    {"negative_slope", "real", "0.01", "", "", "Slope below zero."},
};
constexpr KeySpec alpha_keys[] = {
    {"alpha", "real", "1", "", "", "Limit far below zero, its sign turned."},
};
constexpr KeySpec softplus_keys[] = {
    {"beta", "real", "1", "> 0", "", "Sharpness of the bend."},
    {"threshold", "real", "20", "", "", "Straight above it."},
};
constexpr KeySpec hardtanh_keys[] = {
    {"min_val", "real", "-1", "", "", "Least value."},
    {"max_val", "real", "1", "", "", "Greatest value."},
};
constexpr KeySpec sine_keys[] = {
    {"w", "real", "1", "", "", "Factor of the argument."},
    {"phi", "real", "0", "", "", "Phase."},
};
constexpr KeySpec threshold_keys[] = {
    {"threshold", "real", "0", "", "", "Least value."},
};
constexpr KeySpec linear_keys[] = {
    {"bias", "bool", "true", "", "", "Whether it has a bias."},
};
constexpr KeySpec noise_keys[] = {
    {"noise_std", "real", "1", ">= 0", "", "Standard deviation of the noise."},
    {"noise_channels_dim", "int", "4", ">= 1", "", "Noise channels per node."},
    {"noise_mlp_hidden_dim", "int", "32", ">= 1", "", "Width of the noise MLP."},
    {"noise_matrix", "path", "", "", "", "Matrix that projects noise from another grid."},
    {"noise_edges_name", "strings", "", "", "", "Edges that do so, instead of a file."},
    {"edge_weight_attribute", "string", "", "", "", "Edge attribute that holds their weights."},
    {"row_normalize_noise_matrix", "bool", "false", "", "", "Make the weights of a row add up to one."},
    {"autocast", "bool", "false", "", "", "Allow low precision in the projection."},
    {"sparse_projector_num_chunks", "int", "1", ">= 1", "", "Parts of the projection."},
    {"num_channels", "int", "${model.num_channels}", ">= 1", "", "Width of the latent state."},
    {"layer_kernels.*", "target:layer", "", "", "", "Classes of its layers."},
};

} // namespace

std::vector<TargetSpec> layer_targets()
{
    std::vector<TargetSpec> all = {
        {"layer", "Linear", {linear_keys}, "Linear layer."},
        {"layer", "LayerNorm", {norm_keys}, "Layer norm."},
        {"layer", "AutocastLayerNorm", {norm_keys}, "Layer norm that gives back the input's precision."},
        {"layer", "RMSNorm", {rms_keys}, "Division by the root of the mean square."},
        {"layer", "ConditionalLayerNorm", {conditional_keys}, "Layer norm whose scale and shift come from noise."},
        {"layer", "GELU", {gelu_keys}, "Activation."},
        {"layer", "LeakyReLU", {slope_keys, inplace_key}, "Activation."},
        {"layer", "ELU", {alpha_keys, inplace_key}, "Activation."},
        {"layer", "CELU", {alpha_keys, inplace_key}, "Activation."},
        {"layer", "Softplus", {softplus_keys}, "Activation."},
        {"layer", "Hardtanh", {hardtanh_keys, inplace_key}, "Activation."},
        {"layer", "Sine", {sine_keys}, "Activation: sin(w x + phi)."},
        {"layer", "CustomRelu", {threshold_keys}, "Activation: no less than the threshold."},
        {"noise injector", "NoiseConditioning", {noise_keys}, "Noise that conditions the processor's layer norms."},
        {"noise injector", "NoiseInjector", {noise_keys}, "Noise that is mixed into the latent state."},
        {"noise injector", "NoOpNoiseInjector", {noise_keys}, "No noise."},
    };
    for (const auto* name : {"SiLU", "ReLU", "Sigmoid", "Tanh", "Identity", "Mish", "SELU", "ReLU6", "Hardswish",
                             "Hardsigmoid", "Softsign", "LogSigmoid", "Tanhshrink"})
        all.push_back({"layer", name, {inplace_key}, "Activation."});
    return all;
}

} // namespace gradwind
