// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/model/build_checks.h"

#include "gradwind/core/error.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace gradwind::model
{

namespace
{

void require_target(const Config& section, const std::vector<std::string>& available,
                    const std::vector<std::string>& planned)
{
    if (std::find(available.begin(), available.end(), section.target()) == available.end())
        refuse_target(section, available, planned);
}

} // namespace

void check_whole(const Config& root)
{
    if (root.has("model") && root.at("model").has("_target_"))
        require_target(root.at("model"), {"AnemoiModelEncProcDec", "AnemoiEnsModelEncProcDec"},
                       {"AnemoiModelEncProcDecHierarchical", "AnemoiModelAutoEncoder", "AnemoiModelInterpEncProcDec"});
}

void check_parts(const std::vector<NamedMapper>& encoders, const Config& processor,
                 const std::vector<NamedMapper>& decoders)
{
    for (const auto& encoder : encoders)
        require_target(
            encoder.part.section,
            {"GNNForwardMapper", "GraphTransformerForwardMapper", "TransformerForwardMapper", "PointWiseForwardMapper"},
            {});
    require_target(
        processor,
        {"GNNProcessor", "GraphTransformerProcessor", "TransformerProcessor", "PointWiseMLPProcessor", "NoOpProcessor"},
        {});
    for (const auto& decoder : decoders) {
        require_target(decoder.part.section,
                       {"GNNBackwardMapper", "GraphTransformerBackwardMapper", "TransformerBackwardMapper",
                        "PointWiseBackwardMapper"},
                       {});
        GRADWIND_CHECK(decoder.datasets.size() == 1, ConfigError,
                       "[model] {}: the decoder `{}` must write one data set, found {}", decoder.part.section.where(),
                       decoder.key, decoder.datasets.size());
    }
}

void check_nodes(const graph::Graph& graph, const std::string& hidden_nodes, const NamedMapper& mapper)
{
    const auto& section = mapper.part.section;
    if (section.target() != "PointWiseForwardMapper" && section.target() != "PointWiseBackwardMapper")
        return;
    for (const auto& name : mapper.datasets)
        GRADWIND_CHECK(graph.node_set(name).size() == graph.node_set(hidden_nodes).size(), ConfigError,
                       "[model] {}: point-wise mappers need as many hidden nodes as data nodes; set "
                       "model.model.hidden_nodes_name to `{}`",
                       section.where(), name);
}

void check_condition(const NetworkParts& parts, int64_t width, const Config& processor, const Config& root)
{
    const int64_t offered = parts.noise ? parts.noise->condition_width() : 0;
    GRADWIND_CHECK(width == 0 || offered == width, ConfigError,
                   "[model] {}: the layer kernel ConditionalLayerNorm has condition_shape {}, but the model conditions "
                   "with {} columns of noise; it needs an AnemoiEnsModelEncProcDec with a NoiseConditioning of as many "
                   "noise_channels_dim",
                   processor.where(), width, offered);
    GRADWIND_CHECK(offered == 0 || width != 0, ConfigError,
                   "[model] {}: a NoiseConditioning conditions nothing, because {} has no ConditionalLayerNorm among "
                   "its layer_kernels",
                   root.at("noise_injector").where(), processor.where());
}

void require_width(const Config& section, int64_t channels, int64_t latent)
{
    GRADWIND_CHECK(channels == latent, ConfigError,
                   "[model] {} has {} channels, but the latent it works on has {}; the parts must agree (only a "
                   "GraphTransformerBackwardMapper may have another width)",
                   section.where(), channels, latent);
}

} // namespace gradwind::model
