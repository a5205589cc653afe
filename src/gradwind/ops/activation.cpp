// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/ops/activation.h"

#include "gradwind/core/error.h"

#include <ATen/ATen.h>

namespace gradwind::ops
{

namespace
{

struct Entry {
    const char* name; ///< null: a variant of another, reached by a parameter
    std::vector<ActivationParameter> parameters;
};

/// In the order of the enumeration.
const std::vector<Entry>& entries()
{
    static const std::vector<Entry> table = {
        {"GELU", {}},
        {"ReLU", {}},
        {"SiLU", {}},
        {"Sigmoid", {}},
        {"Tanh", {}},
        {"LeakyReLU", {{"negative_slope", 0.01}}},
        {"ELU", {{"alpha", 1}}},
        {"Softplus", {{"beta", 1}, {"threshold", 20}}},
        {"Mish", {}},
        {"Identity", {}},
        {nullptr, {}},
        {"SELU", {}},
        {"CELU", {{"alpha", 1}}},
        {"ReLU6", {}},
        {"Hardswish", {}},
        {"Hardsigmoid", {}},
        {"Hardtanh", {{"min_val", -1}, {"max_val", 1}}},
        {"Softsign", {}},
        {"LogSigmoid", {}},
        {"Tanhshrink", {}},
        {"Sine", {{"w", 1}, {"phi", 0}}},
        {"CustomRelu", {{"threshold", 0}}},
    };
    return table;
}

} // namespace

Activation::Activation(Kind kind) : kind(kind), parameters{}
{
    const auto& known = entries()[size_t(kind)].parameters;
    for (size_t i = 0; i < known.size(); ++i)
        parameters.at(i) = known[i].fallback;
}

const std::vector<std::string>& activation_names()
{
    static const std::vector<std::string> names = [] {
        std::vector<std::string> out;
        for (const auto& entry : entries())
            if (entry.name)
                out.emplace_back(entry.name);
        return out;
    }();
    return names;
}

std::optional<Activation> activation_of(std::string_view name)
{
    for (size_t i = 0; i < entries().size(); ++i)
        if (entries()[i].name && name == entries()[i].name)
            return Activation(Activation::Kind(i));
    return std::nullopt;
}

const std::vector<ActivationParameter>& activation_parameters(Activation::Kind kind)
{
    return entries()[size_t(kind)].parameters;
}

at::Tensor activate(const at::Tensor& x, const Activation& activation)
{
    const auto [a, b] = activation.parameters;
    switch (activation.kind) {
    case Activation::Gelu:
        return at::gelu(x);
    case Activation::GeluTanh:
        return at::gelu(x, "tanh");
    case Activation::Relu:
        return at::relu(x);
    case Activation::Silu:
        return at::silu(x);
    case Activation::Sigmoid:
        return at::sigmoid(x);
    case Activation::Tanh:
        return at::tanh(x);
    case Activation::LeakyRelu:
        return at::leaky_relu(x, a);
    case Activation::Elu:
        return at::elu(x, a);
    case Activation::Softplus:
        return at::softplus(x, a, b);
    case Activation::Mish:
        return at::mish(x);
    case Activation::Identity:
        return x;
    case Activation::Selu:
        return at::selu(x);
    case Activation::Celu:
        return at::celu(x, a);
    case Activation::Relu6:
        return at::relu6(x);
    case Activation::Hardswish:
        return at::hardswish(x);
    case Activation::Hardsigmoid:
        return at::hardsigmoid(x);
    case Activation::Hardtanh:
        return at::hardtanh(x, a, b);
    case Activation::Softsign:
        return x / (x.abs() + 1);
    case Activation::LogSigmoid:
        return at::log_sigmoid(x);
    case Activation::Tanhshrink:
        return x - at::tanh(x);
    case Activation::Sine:
        return at::sin(x * a + b);
    case Activation::CustomRelu:
        return at::relu(x - a) + a;
    }
    throw InternalError("[activation] unknown activation");
}

} // namespace gradwind::ops
