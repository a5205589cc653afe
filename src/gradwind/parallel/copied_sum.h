// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Sums over processes of one node whose GPUs' copy engines do the moving; private to parallel.
#pragma once
#include "gradwind/parallel/backend.h"
#include "gradwind/parallel/peer_memory.h"

#include <memory>

namespace gradwind::parallel::detail
{

inline constexpr int kMostCopyingRanks = 8; ///< a node's

/// How a tensor travels: cut into a part for each rank, or, if it is small, whole to all: one trip in place of two. In
/// the caller's queue only the latter.
struct CopiedSumPlan {
    bool whole = false;
    int64_t part = 0;              ///< elements that a rank adds; the last one has what is left
    int64_t slot = 0;              ///< bytes of a part on its way
    int64_t inbox = 0, outbox = 0; ///< bytes that a rank keeps for it
};
[[nodiscard]] CopiedSumPlan plan_copied_sum(int64_t numel, int64_t element_bytes, WireType wire, Queue queue,
                                            int ranks);

class CopiedSum;

/// Makes sums in which no multiprocessor moves bytes or waits for another process: copy engines carry parts to where
/// they are added, in rank order, and the sums back. What computes meanwhile gives up its GPU for the additions only.
///
/// With bf16 on the wire shares are rounded, added in fp32 and handed round as they are: links between GPUs of a node
/// have room, and another rounding is another pass over memory.
class CopiedSums
{
public:
    CopiedSums(at::Device device, int rank, int size, PeerMemory::Ask ask);
    ~CopiedSums();

    /// As Backend::copied_sum(). @collective
    [[nodiscard]] std::unique_ptr<Repeatable> make(const at::Tensor& x, WireType wire, Queue queue) const;
    /// Says in the name of all others that they have come: what sums hold from now on is of no use. From any thread.
    void give_up() const noexcept;

private:
    friend class CopiedSum;
    struct Queues;
    std::shared_ptr<Queues> queues_;
    const int rank_, size_;
    const PeerMemory::Ask ask_;
};

} // namespace gradwind::parallel::detail
