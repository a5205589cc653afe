// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Limits on output variables (spec §2.5).
#pragma once
#include "gradwind/core/config.h"
#include "gradwind/core/variables.h"

#include <torch/nn/module.h>

#include <memory>
#include <string>
#include <vector>

namespace gradwind::model
{

/// Limits some of the output columns, in normalised space.
class Bounding : public torch::nn::Module
{
public:
    /// @param x [..., n_output] @return a new tensor of that shape
    [[nodiscard]] virtual at::Tensor forward(const at::Tensor& x) const = 0;
};

/// Builds one bounding from its section (`_target_`, `variables`, limits).
/// @param statistics needed by the Normalized kinds only
/// @throws ConfigError for an unknown kind, variable or normalizer, for crossed limits, or without statistics
[[nodiscard]] std::shared_ptr<Bounding> build_bounding(const Config& section, const VariableTable& variables,
                                                       const Statistics* statistics);

} // namespace gradwind::model
