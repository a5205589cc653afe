// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/output_mask.h"

#include "gradwind/core/error.h"
#include "gradwind/core/text.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

namespace gradwind::train
{

at::Tensor output_mask(const Config& model, const graph::Graph& graph, const std::string& dataset)
{
    auto mask = model.find("output_mask");
    if (mask && mask->is_map() && mask->has("datasets"))
        mask = mask->find("datasets." + dataset);
    if (!mask || !mask->is_map() || !mask->has("_target_") || mask->target() == "NoOutputMask")
        return {};
    GRADWIND_CHECK(mask->target() == "Boolean1DMask", ConfigError,
                   "[train] {}: {} is not available; available are Boolean1DMask, NoOutputMask", mask->where(),
                   mask->target());
    const auto& nodes = graph.node_set(dataset);
    const auto name = mask->get<std::string>("attribute_name");
    std::vector<std::string> names;
    for (const auto& [known, values] : nodes.attributes)
        names.push_back(known);
    GRADWIND_CHECK(nodes.attributes.contains(name), ConfigError,
                   "[train] {}: the nodes `{}` have no attribute `{}` for the output mask{}; they have {}",
                   mask->at("attribute_name").where(), dataset, name, did_you_mean(name, names),
                   fmt::join(names, ", "));
    const auto kept = graph::node_mask(nodes, name);
    auto inside = at::tensor(kept, at::kByte) != 0;
    GRADWIND_CHECK(inside.any().item<bool>(), ConfigError,
                   "[train] {}: no node of `{}` is inside; the mask must hold where forecasts count", mask->where(),
                   dataset);
    return inside;
}

} // namespace gradwind::train
