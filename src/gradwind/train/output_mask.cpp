// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/output_mask.h"

#include "gradwind/core/error.h"

#include <ATen/ATen.h>

namespace gradwind::train
{

at::Tensor output_mask(const Config& model_section, const graph::Graph& graph, const std::string& dataset_name)
{
    auto mask = model_section.find("output_mask");
    if (mask && mask->is_map() && mask->has("datasets"))
        mask = mask->find("datasets." + dataset_name);
    if (!mask || !mask->is_map() || !mask->has("_target_") || mask->target() == "NoOutputMask")
        return {};
    GRADWIND_CHECK(mask->target() == "Boolean1DMask", ConfigError,
                   "[train] {}: {} is not available; available are Boolean1DMask, NoOutputMask", mask->where(),
                   mask->target());
    const auto& nodes = graph.node_set(dataset_name);
    const auto name = mask->get<std::string>("attribute_name");
    const auto found = nodes.attributes.find(name);
    GRADWIND_CHECK(found != nodes.attributes.end(), DataError, "[train] {}: the graph has no node attribute `{}`",
                   mask->where(), name);
    return at::tensor(found->second.values, at::kFloat) != 0;
}

} // namespace gradwind::train
