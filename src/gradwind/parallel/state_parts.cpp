// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/state_parts.h"

#include "gradwind/parallel/exchange.h"

#include <ATen/core/Tensor.h>

namespace gradwind::parallel::detail
{

void StateParts::lay_out(const Arena& arena, const BucketTable& buckets)
{
    share_.owned.clear();
    buckets_.clear();
    pieces_.clear();
    if (!is_shared()) {
        pieces_.push_back({.offset = 0, .dense = arena.gradients()});
        return;
    }
    for (size_t bucket = 0; bucket < buckets.size(); ++bucket) {
        const int64_t begin = buckets.begin_of(bucket), end = buckets.ends()[bucket];
        const Span own = part_of(begin, end, share_.group);
        share_.owned.push_back(own);
        buckets_.push_back({begin, end - begin});
        pieces_.push_back({.offset = own.begin, .dense = arena.gradients().narrow(0, own.begin, own.size)});
    }
}

void StateParts::gather(const at::Tensor& flat) const
{
    for (size_t bucket = 0; bucket < buckets_.size(); ++bucket) {
        const Span &own = share_.owned[bucket], &all = buckets_[bucket];
        all_gather_into(share_.group, flat.narrow(0, all.begin, all.size), flat.narrow(0, own.begin, own.size));
    }
}

} // namespace gradwind::parallel::detail
