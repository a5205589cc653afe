// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What build_model() refuses; private to model. All of them throw ConfigError and name the section.
#pragma once
#include "gradwind/model/encoder_processor_decoder.h"
#include "gradwind/model/options.h"

namespace gradwind::model
{

/// Refuses models that are not available as a whole.
void check_whole(const Config& root);
/// Refuses parts that are not available, before edges are asked of the graph that only those parts could do without.
void check_parts(const std::vector<NamedMapper>& encoders, const Config& processor,
                 const std::vector<NamedMapper>& decoders);
/// Nodes that are their own hidden nodes can only be worked on one by one.
void check_nodes(const graph::Graph& graph, const std::string& hidden_nodes, const NamedMapper& mapper);
/// A conditional normalisation needs noise of its width, and noise that conditions one needs such a normalisation.
void check_condition(const NetworkParts& parts, int64_t width, const Config& processor, const Config& root);
/// Refuses a latent of another width than a part works with.
void require_width(const Config& section, int64_t channels, int64_t latent);

} // namespace gradwind::model
