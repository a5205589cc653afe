// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/model/head_sharing.h"

namespace gradwind::model
{

SharedWork work_by_heads(int64_t heads, int64_t columns, int64_t layers, const NodeSharing& nodes,
                         ops::Intermediates mode)
{
    parallel::require_heads(heads, nodes.sources.n_parts());
    return {.strategy = ShardStrategy::Heads,
            .columns = columns,
            .layers = layers,
            .forward_runs = mode == ops::Intermediates::Recompute ? 2 : 1,
            .heads = heads};
}

std::shared_ptr<const HeadSharing::Exchanges> HeadSharing::of(const EdgeInputs& edges, at::Device device)
{
    if (!edges.sharing || edges.sharing->group.size() == 1)
        return nullptr;
    auto found = known_.find(edges.copies);
    if (found == known_.end() || found->second.device != device) {
        const auto& sharing = *edges.sharing;
        const auto exchange = [&](const parallel::Partition& nodes) {
            return parallel::HeadExchange(sharing.group, nodes, edges.copies, heads_, device);
        };
        Known known{device, std::make_shared<const Exchanges>(
                                Exchanges{exchange(sharing.sources), exchange(sharing.destinations)})};
        found = known_.insert_or_assign(edges.copies, std::move(known)).first;
    }
    return found->second.exchanges;
}

} // namespace gradwind::model
