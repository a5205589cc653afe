// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/copied_sum.h"

namespace gradwind::parallel::detail
{

namespace
{

constexpr int64_t kSendWhole = int64_t{1}
                               << 20; ///< bytes to all up to which a second trip takes longer than more bytes
constexpr int64_t kSendInLine = int64_t{8} << 20; ///< bytes to all that nothing else needs to wait for long
constexpr int64_t kPartUnit = 128;                ///< elements, so that parts lie well for vector instructions

int64_t round_up(int64_t x, int64_t unit)
{
    return (x + unit - 1) / unit * unit;
}

} // namespace

CopiedSumPlan plan_copied_sum(int64_t numel, int64_t element_bytes, WireType wire, Queue queue, int ranks)
{
    const int64_t on_wire = wire == WireType::Bf16 ? 2 : element_bytes;
    CopiedSumPlan plan;
    plan.whole = numel * on_wire * (ranks - 1) <= (queue == Queue::Own ? kSendWhole : kSendInLine);
    plan.part = plan.whole ? numel : round_up((numel + ranks - 1) / ranks, kPartUnit);
    plan.slot = round_up(plan.part * on_wire, kFlagBytes);
    plan.inbox = (ranks - 1) * plan.slot + 2 * ranks * kFlagBytes;
    if (on_wire != element_bytes)
        plan.outbox = plan.whole ? plan.slot : (ranks - 1) * plan.slot;
    return plan;
}

} // namespace gradwind::parallel::detail
