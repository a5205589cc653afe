// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/collective_tape.h"

#include "gradwind/core/error.h"

#include <atomic>

namespace gradwind::parallel::detail
{
namespace
{

std::atomic<CollectiveTape*> the_tape = nullptr;

} // namespace

CollectiveTape::CollectiveTape(Collectives collectives, std::function<void(int32_t)> before, std::vector<Entry> space)
    : collectives_(collectives), before_(std::move(before)), entries_(std::move(space))
{
    entries_.clear();
    CollectiveTape* none = nullptr;
    const bool alone = the_tape.compare_exchange_strong(none, this);
    GRADWIND_ASSERT(alone);
}

CollectiveTape::~CollectiveTape()
{
    the_tape = nullptr;
}

CollectiveTape* CollectiveTape::current()
{
    return the_tape.load(std::memory_order_acquire);
}

bool CollectiveTape::is_recording()
{
    const auto* tape = current();
    return tape && tape->collectives_ == Collectives::Recorded;
}

void CollectiveTape::add(const Entry& entry)
{
    if (collectives_ == Collectives::Sent) {
        entry.group->count(entry.verb, entry.bytes);
        if (!entry.group->backend)
            return;
    }
    const std::lock_guard lock(mutex_);
    if (entry.group->backend)
        before_(static_cast<int32_t>(entries_.size()));
    entries_.push_back(entry);
}

std::optional<CollectiveTape::Entry> CollectiveTape::overtaken(int32_t place)
{
    const std::lock_guard lock(mutex_);
    if (place < 0 || size_t(place) + 1 >= entries_.size())
        return std::nullopt;
    return entries_[size_t(place)];
}

} // namespace gradwind::parallel::detail
