// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Which parameters reach into which buckets, and which of these still wait for gradients; private to parallel.
#pragma once
#include "gradwind/parallel/arena.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

namespace gradwind::parallel::detail
{

/// Counted down by autograd's threads without a lock.
class BucketTable
{
public:
    /// The buckets that a parameter reaches into: [first, last].
    struct Reach {
        size_t first = 0, last = 0;
    };

    /// @param ends  first element after each bucket; they grow up to the arena's length
    void lay_out(const Arena& arena, std::vector<int64_t> ends);

    [[nodiscard]] size_t size() const { return ends_.size(); }
    [[nodiscard]] const std::vector<int64_t>& ends() const { return ends_; }
    [[nodiscard]] int64_t begin_of(size_t bucket) const { return bucket == 0 ? 0 : ends_[bucket - 1]; }
    [[nodiscard]] const Reach& reach(size_t parameter) const { return reach_[parameter]; }

    /// All parameters are to come.
    void begin();
    /// A parameter is complete. @return whether it was the last of this bucket
    [[nodiscard]] bool count_down(size_t bucket) { return pending_[bucket].fetch_sub(1) == 1; }
    [[nodiscard]] bool is_complete(size_t bucket) const { return pending_[bucket].load() == 0; }

private:
    std::vector<int64_t> ends_;
    std::vector<int> parameters_;                 ///< by bucket: how many reach into it
    std::vector<Reach> reach_;                    ///< by parameter
    std::unique_ptr<std::atomic<int>[]> pending_; ///< by bucket: how many are not complete yet
};

} // namespace gradwind::parallel::detail
