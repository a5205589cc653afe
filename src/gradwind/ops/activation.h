// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Activation functions by the names that configurations use.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gradwind::ops
{

/// A function that is applied element by element.
struct Activation {
    enum Kind {
        Gelu, ///< the exact one, by erf
        Relu,
        Silu,
        Sigmoid,
        Tanh,
        LeakyRelu,
        Elu,
        Softplus,
        Mish,
        Identity,
        GeluTanh,
        Selu,
        Celu,
        Relu6,
        Hardswish,
        Hardsigmoid,
        Hardtanh,
        Softsign,
        LogSigmoid,
        Tanhshrink,
        Sine,
        CustomRelu
    };
    Kind kind;
    std::array<double, 2> parameters; ///< in the order of activation_parameters()

    Activation(Kind kind = Gelu); // NOLINT: a kind stands for the activation with its default parameters
    bool operator==(const Activation&) const = default;
};

/// The name of a parameter and the value that it has unless it is given.
struct ActivationParameter {
    const char* name;
    double fallback;
};

/// The activation of a class name of torch.nn or anemoi.models ("GELU", "ReLU", "SiLU", ...), with its default
/// parameters; nothing for an unknown name.
[[nodiscard]] std::optional<Activation> activation_of(std::string_view name);
/// Every name that activation_of knows.
[[nodiscard]] const std::vector<std::string>& activation_names();
/// The parameters of a kind, two at most.
[[nodiscard]] const std::vector<ActivationParameter>& activation_parameters(Activation::Kind kind);

/// Applies it element by element.
[[nodiscard]] at::Tensor activate(const at::Tensor& x, const Activation& activation);

} // namespace gradwind::ops
