// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Activation functions by the names that configurations use.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gradwind::ops
{

enum class Activation { Gelu, Relu, Silu, Sigmoid, Tanh, LeakyRelu, Elu, Softplus, Mish, Identity };

/// The activation of a torch.nn class name ("GELU", "ReLU", "SiLU", ...); nothing for an unknown name.
[[nodiscard]] std::optional<Activation> activation_of(std::string_view name);
/// Every name that activation_of knows.
[[nodiscard]] const std::vector<std::string>& activation_names();

/// Applies it element by element with torch's default parameters (GELU is the exact one, by erf).
[[nodiscard]] at::Tensor activate(const at::Tensor& x, Activation activation);

} // namespace gradwind::ops
