// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Attention that a model group shares by heads.
#pragma once
#include "gradwind/model/graph_inputs.h"
#include "gradwind/parallel/head_exchange.h"

namespace gradwind::model
{

/// What `layers` layers exchange whose attention is shared so; again where they run a second time in backward.
/// @throws ConfigError if there are fewer heads than processes
[[nodiscard]] SharedWork work_by_heads(int64_t heads, int64_t columns, int64_t layers, const NodeSharing& nodes,
                                       ops::Intermediates mode);

/// The exchanges of one part, made once for every number of copies.
class HeadSharing
{
public:
    explicit HeadSharing(int64_t heads) : heads_(heads) {}

    struct Exchanges {
        parallel::HeadExchange sources, destinations;
    };
    /// Null where one process has all heads. @throws ConfigError if there are fewer heads than processes
    [[nodiscard]] std::shared_ptr<const Exchanges> of(const EdgeInputs& edges, at::Device device);

private:
    struct Known {
        at::Device device;
        std::shared_ptr<const Exchanges> exchanges;
    };
    int64_t heads_;
    std::map<int64_t, Known> known_; ///< by copies
};

} // namespace gradwind::model
