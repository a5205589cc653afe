// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Limited areas: the nodes whose forecasts count. At the others the model is told the truth in every step.
#pragma once
#include "gradwind/core/config.h"
#include "gradwind/graph/graph.h"

#include <ATen/core/Tensor.h>

#include <string>

namespace gradwind::train
{

/// `model.output_mask` of a data set (spec §9): [N] bool, true where forecasts count; undefined for all nodes.
/// @param model  the section `model`
/// @throws ConfigError for a mask that is not known or whose attribute the graph lacks
[[nodiscard]] at::Tensor output_mask(const Config& model, const graph::Graph& graph, const std::string& dataset);

} // namespace gradwind::train
