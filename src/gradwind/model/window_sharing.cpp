// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/model/window_sharing.h"

#include "gradwind/parallel/window_plan.h"

#include <ATen/ATen.h>

namespace gradwind::model
{

std::shared_ptr<const WindowSharing::Exchange> WindowSharing::of(const EdgeInputs& edges, at::Device device)
{
    if (!edges.sharing || edges.sharing->group.size() == 1)
        return nullptr;
    auto found = known_.find(edges.copies);
    if (found == known_.end() || found->second.device != device) {
        const auto& nodes = *edges.sharing;
        const auto plan = parallel::make_window_plan(nodes.sources, nodes.destinations, window_, nodes.group.rank());
        Exchange exchange;
        exchange.sources = {nodes.group, plan.exchange, edges.copies, device};
        exchange.seen = at::tensor(plan.exchange.sources_of_copies(edges.copies), at::kLong).to(device);
        exchange.query_position = plan.query_position;
        Known known{device, std::make_shared<const Exchange>(std::move(exchange))};
        found = known_.insert_or_assign(edges.copies, std::move(known)).first;
    }
    return found->second.exchange;
}

} // namespace gradwind::model
