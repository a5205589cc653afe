// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/ops/activation.h"

#include "gradwind/core/error.h"

#include <ATen/ATen.h>

namespace gradwind::ops
{

const std::vector<std::string>& activation_names()
{
    // In the order of the enumeration.
    static const std::vector<std::string> names = {"GELU",      "ReLU", "SiLU",     "Sigmoid", "Tanh",
                                                   "LeakyReLU", "ELU",  "Softplus", "Mish",    "Identity"};
    return names;
}

std::optional<Activation> activation_of(std::string_view name)
{
    const auto& names = activation_names();
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end())
        return std::nullopt;
    return Activation(found - names.begin());
}

at::Tensor activate(const at::Tensor& x, Activation activation)
{
    switch (activation) {
    case Activation::Gelu:
        return at::gelu(x);
    case Activation::Relu:
        return at::relu(x);
    case Activation::Silu:
        return at::silu(x);
    case Activation::Sigmoid:
        return at::sigmoid(x);
    case Activation::Tanh:
        return at::tanh(x);
    case Activation::LeakyRelu:
        return at::leaky_relu(x);
    case Activation::Elu:
        return at::elu(x);
    case Activation::Softplus:
        return at::softplus(x);
    case Activation::Mish:
        return at::mish(x);
    case Activation::Identity:
        return x;
    }
    throw InternalError("[activation] unknown activation");
}

} // namespace gradwind::ops
