// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The cells of a limited area.
#pragma once
#include "gradwind/core/config.h"
#include "gradwind/graph/graph.h"

#include <ATen/core/Tensor.h>

#include <string>

namespace gradwind::train
{

/// The nodes that `output_mask` keeps, [nodes of the data set] bool; undefined without a mask. The others are the
/// boundary, where a rollout goes on with the true state. @param model_section  `model` of a configuration
/// @throws ConfigError for a mask of another kind; DataError if the graph has no such attribute
[[nodiscard]] at::Tensor output_mask(const Config& model_section, const graph::Graph& graph,
                                     const std::string& dataset_name);

} // namespace gradwind::train
