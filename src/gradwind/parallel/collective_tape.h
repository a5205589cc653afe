// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The collectives of a piece of work; private to parallel.
#pragma once
#include "gradwind/parallel/backend.h"

#include <functional>
#include <mutex>
#include <optional>
#include <vector>

namespace gradwind::parallel::detail
{

/// While one exists, collectives of this process are noted on it. One at a time.
class CollectiveTape
{
public:
    struct Entry {
        GroupState* group = nullptr; ///< lives as long as whoever reads the entry
        Verb verb{};
        int64_t bytes = 0;
    };
    enum class Collectives {
        Recorded, ///< not sent, and not counted: whoever starts them does that
        Sent      ///< as they are called, and counted; those of a group of one cannot hang and are left out
    };

    /// @param before  called before each collective between ranks with its place, on the thread that calls it
    /// @param space   of entries from before, to be used again
    CollectiveTape(Collectives collectives, std::function<void(int32_t place)> before, std::vector<Entry> space = {});
    ~CollectiveTape();
    CollectiveTape(const CollectiveTape&) = delete;
    CollectiveTape& operator=(const CollectiveTape&) = delete;

    /// The one under way, or null.
    [[nodiscard]] static CollectiveTape* current();
    /// Whether what is called now is done later, and not now.
    [[nodiscard]] static bool is_recording();
    void add(const Entry& entry);
    /// The entry at a place that is not the last one; nothing: nothing was noted behind it.
    [[nodiscard]] std::optional<Entry> overtaken(int32_t place);
    /// By place.
    [[nodiscard]] std::vector<Entry> take() { return std::move(entries_); }

private:
    std::mutex mutex_; ///< autograd's threads call collectives, too
    const Collectives collectives_;
    const std::function<void(int32_t)> before_;
    std::vector<Entry> entries_;
};

} // namespace gradwind::parallel::detail
