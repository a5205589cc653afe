// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/bucket_table.h"

#include <algorithm>

namespace gradwind::parallel::detail
{

void BucketTable::lay_out(const Arena& arena, std::vector<int64_t> ends)
{
    ends_ = std::move(ends);
    parameters_.assign(ends_.size(), 0);
    pending_ = std::make_unique<std::atomic<int>[]>(ends_.size());
    reach_.resize(arena.slices().size());
    const auto bucket_at = [&](int64_t element) {
        return static_cast<size_t>(std::upper_bound(ends_.begin(), ends_.end(), element) - ends_.begin());
    };
    for (size_t place = 0; place < arena.slices().size(); ++place) {
        const Slice& slice = arena.slices()[place];
        // A parameter without elements hangs on the bucket that its place falls in, the last one at the end.
        const size_t first = std::min(bucket_at(slice.offset), ends_.size() - 1);
        const size_t last = slice.numel == 0 ? first : bucket_at(slice.end() - 1);
        reach_[arena.order()[place]] = {first, last};
        for (size_t bucket = first; bucket <= last; ++bucket)
            ++parameters_[bucket];
    }
}

void BucketTable::begin()
{
    for (size_t bucket = 0; bucket < ends_.size(); ++bucket)
        pending_[bucket].store(parameters_[bucket], std::memory_order_relaxed);
}

} // namespace gradwind::parallel::detail
