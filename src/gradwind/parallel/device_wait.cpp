// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/device_wait.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

namespace gradwind::parallel::detail
{
namespace
{

using namespace std::chrono_literals;

// A step takes tens of milliseconds: these pauses cost nothing, and leave the core to whoever reads the next batch.
constexpr auto kPause = 20us;
constexpr std::chrono::milliseconds kFirstLook = 1s, kLook = 200ms; ///< at what other ranks say

std::string word_of_others(std::span<const CollectiveTape::Entry> collectives)
{
    // Any group of the world will do, but a process by itself has nobody to ask.
    for (const auto& entry : collectives)
        if (auto* board = entry.group->health->board())
            return board->read();
    return {};
}

} // namespace

void DeviceWait::wait(DeviceProgress& device, std::span<const Entry> collectives, Clock::time_point begun) const
{
    auto look = begun + std::min(kFirstLook, timeout_);
    while (!device.is_done()) {
        std::this_thread::sleep_for(kPause);
        const auto now = Clock::now();
        if (collectives.empty() || now < look)
            continue;
        if (now > begun + timeout_)
            give_up(device, collectives,
                    fmt::format("not done {:g} s after the step was {}",
                                std::chrono::duration<double>(timeout_).count(), words_.begun));
        if (!word_of_others(collectives).empty())
            give_up(device, collectives, "another rank will not come");
        look = now + kLook;
    }
}

void DeviceWait::give_up(const DeviceProgress& device, std::span<const Entry> collectives, const std::string& why) const
{
    const auto place = std::clamp<int64_t>(device.reached(), 0, int64_t(collectives.size()) - 1);
    const auto& at = collectives[size_t(place)];
    at.group->raise(at.verb, fmt::format("{}; of the {} collectives of the {} it is number {}", why, collectives.size(),
                                         words_.step, place + 1));
}

} // namespace gradwind::parallel::detail
