// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The collectives of recorded work; private to parallel.
#pragma once
#include "gradwind/parallel/backend.h"

#include <functional>
#include <mutex>
#include <vector>

namespace gradwind::parallel::detail
{

/// While one exists, collectives of this process are noted on it in place of being counted: they are recorded, not
/// sent. One at a time.
class CollectiveTape
{
public:
    struct Entry {
        GroupState* group = nullptr; ///< lives as long as whoever recorded
        Verb verb{};
        int64_t bytes = 0;
    };

    /// @param before  called before each collective between ranks with its place, on the thread that calls it
    explicit CollectiveTape(std::function<void(int32_t place)> before);
    ~CollectiveTape();
    CollectiveTape(const CollectiveTape&) = delete;
    CollectiveTape& operator=(const CollectiveTape&) = delete;

    /// The one under way; null: collectives are sent as they are called.
    [[nodiscard]] static CollectiveTape* current();
    void add(const Entry& entry);
    [[nodiscard]] std::vector<Entry> take() { return std::move(entries_); }

private:
    std::mutex mutex_; ///< autograd's threads call collectives, too
    std::function<void(int32_t)> before_;
    std::vector<Entry> entries_;
};

} // namespace gradwind::parallel::detail
