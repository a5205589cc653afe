// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// From a `model` section to the options of its parts.
#pragma once
#include "gradwind/core/config.h"
#include "gradwind/model/gnn.h"
#include "gradwind/model/graph_transformer.h"
#include "gradwind/model/pointwise.h"
#include "gradwind/model/transformer.h"

#include <string>
#include <vector>

namespace gradwind::model
{

/// A part of the network: an encoder's or decoder's mapper, or the processor.
struct PartConfig {
    Config section; ///< holds `_target_`
    Config root;    ///< the whole model section, for what a part leaves to it
};

/// Where the newest release and the one before put encoder and decoder.
struct NamedMapper {
    std::string key; ///< name in parameter names
    PartConfig part;
    std::vector<std::string> datasets;             ///< that it reads or writes
    std::vector<std::string> target_node_features; ///< of decoders
};

/// @param plural "encoders" or "decoders", in the order of the configuration
/// @param datasets of the model; a mapper that names none belongs to the first
/// @throws ConfigError for one that names another data set, or one that another has already
[[nodiscard]] std::vector<NamedMapper> find_mappers(const Config& root, const std::string& plural,
                                                    const std::vector<std::string>& datasets);

/// The section of one data set below a key that may or may not have a `datasets` level; nothing if absent or null.
[[nodiscard]] std::optional<Config> find_for_dataset(const Config& root, const std::string& key,
                                                     const std::string& dataset);

/// `num_channels` of a part, else of the whole.
[[nodiscard]] int64_t part_channels(const PartConfig& part);
[[nodiscard]] std::vector<std::string> edge_attributes(const PartConfig& part);
/// @param sets "data", "hidden", "data2hidden", ...
[[nodiscard]] int64_t node_trainables(const Config& root, const std::string& nodes);
[[nodiscard]] int64_t edge_trainables(const PartConfig& part, const std::string& sets);
[[nodiscard]] ShardStrategy shard_strategy(const Config& section);
[[nodiscard]] LayerKernels layer_kernels(const PartConfig& part);
/// @param edge_width columns of the part's edge features
[[nodiscard]] GnnOptions gnn_options(const PartConfig& part, int64_t edge_width);
/// @param edge_width columns of the part's edge features
[[nodiscard]] GraphTransformerOptions graph_transformer_options(const PartConfig& part, int64_t edge_width);
[[nodiscard]] TransformerOptions transformer_options(const PartConfig& part, TransformerBlock::Place place);
[[nodiscard]] PointWiseOptions pointwise_options(const PartConfig& part);
/// `num_layers` of a processor. @throws ConfigError unless `num_chunks` divides it
[[nodiscard]] int64_t layer_count(const Config& section);

/// The value of a key, held to a range. @throws ConfigError naming it
[[nodiscard]] int64_t integer_in(const Config& section, const std::string& key, int64_t fallback, int64_t low,
                                 int64_t high);

/// Throws the error for a `_target_` that cannot be built: the nearest of `available`, or that it is not there yet.
[[noreturn]] void refuse_target(const Config& section, const std::vector<std::string>& available,
                                const std::vector<std::string>& planned);

} // namespace gradwind::model
