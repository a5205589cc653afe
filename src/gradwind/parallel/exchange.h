// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// How a bucket of gradients becomes the sum over ranks; private to parallel.
#pragma once
#include "gradwind/parallel/arena.h"
#include "gradwind/parallel/engine_options.h"
#include "gradwind/parallel/layout.h"
#include "gradwind/parallel/rank_grid.h"

#include <functional>
#include <memory>
#include <vector>

namespace gradwind::parallel::detail
{

/// Buckets are launched in order, each once a step, from any one thread at a time, and then waited for in order.
class Exchange
{
public:
    virtual ~Exchange() = default;
    /// Buckets from here on: bucket k holds the arena's elements up to ends[k]. Between two steps only.
    virtual void lay_out(const Arena& arena, const std::vector<int64_t>& ends) = 0;
    /// The bucket's gradients are complete. Returns before they are summed.
    virtual void launch(size_t bucket) = 0;
    /// What the caller does from now on sees the bucket's sums. @throws CommError
    virtual void wait(size_t bucket) = 0;
    /// After launch(): says whether the bucket is summed, from any thread, while this object lives. Null where nobody
    /// can tell.
    [[nodiscard]] virtual std::function<bool()> probe(size_t /*bucket*/) const { return {}; }
    /// Bytes that this rank hands to collectives for a bucket.
    [[nodiscard]] virtual int64_t wire_bytes(size_t bucket) const = 0;
    /// Of what this keeps from step to step.
    [[nodiscard]] virtual int64_t buffer_bytes() const { return 0; }
};

/// One sum per bucket, in the type of the gradients.
[[nodiscard]] std::unique_ptr<Exchange> make_plain_exchange(Group world, Route route);

/// The same with bf16 on the wire: every rank's share is rounded to bf16, summed in fp32 where the backend can and
/// rounded once more. Error of an element: at most 2^-8 of the sum of the shares' magnitudes, plus 2^-8 of the result.
[[nodiscard]] std::unique_ptr<Exchange> make_bf16_exchange(Group world, Route route, at::Device device);

enum class Handed {
    Whole,  ///< every rank has the sums of a bucket
    OwnPart ///< a rank has those of its part of the bucket, as cut evenly over its row; the rest is of no use
};

/// Sums over a row of ranks, each rank a part of the bucket, in rank order; then its part over its column; then hands
/// the parts round in the row. With bf16 on the wire a row's shares are added in fp32. Buckets are multiples of the
/// row.
[[nodiscard]] std::unique_ptr<Exchange> make_sharded_exchange(RankGrid grid, WireType wire, Handed handed,
                                                              at::Device device);

/// Elements of this rank's part of a range that is cut evenly over a group.
[[nodiscard]] inline Span part_of(int64_t begin, int64_t end, const Group& group)
{
    const int64_t size = (end - begin) / group.size();
    return {begin + group.rank() * size, size};
}

} // namespace gradwind::parallel::detail
