// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Waiting for a device that other ranks may have left alone; private to parallel.
#pragma once
#include "gradwind/parallel/collective_tape.h"
#include "gradwind/parallel/device_progress.h"

#include <chrono>
#include <span>
#include <string>

namespace gradwind::parallel::detail
{

/// The host's wait for queued work, which ends: a collective that hangs is named.
class DeviceWait
{
public:
    using Clock = std::chrono::steady_clock;
    using Entry = CollectiveTape::Entry;

    /// How messages call the work, and what was done to it when its time began.
    struct Words {
        const char* step;  ///< "recorded step"
        const char* begun; ///< "started"
    };

    /// @param timeout  of the whole work, where it has collectives
    DeviceWait(std::chrono::milliseconds timeout, Words words) : timeout_(timeout), words_(words) {}

    /// Until the device is done. @param collectives  of the work, by place @param begun  when its time began
    /// @throws CommError naming the collective that was reached, if that takes too long or another rank says that it
    /// has failed
    void wait(DeviceProgress& device, std::span<const Entry> collectives, Clock::time_point begun) const;

private:
    [[noreturn]] void give_up(const DeviceProgress& device, std::span<const Entry> collectives,
                              const std::string& why) const;

    const std::chrono::milliseconds timeout_;
    const Words words_;
};

} // namespace gradwind::parallel::detail
