// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/watched_work.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/device_wait.h"

#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

namespace gradwind::parallel
{

using detail::CollectiveTape;
using detail::DeviceWait;

namespace
{

using Clock = DeviceWait::Clock;

constexpr const char* kStep = "step";

} // namespace

struct WatchedWork::Impl {
    Impl(std::unique_ptr<detail::DeviceSpan> span, std::chrono::milliseconds timeout)
        : device(std::move(span)), timeout(timeout), limit(timeout, {.step = kStep, .begun = "queued"})
    {
        if (device)
            watcher = std::thread([this] { watch(); });
    }
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;
    ~Impl()
    {
        {
            const std::lock_guard lock(mutex);
            is_closing = true;
        }
        changed.notify_all();
        if (watcher.joinable())
            watcher.join();
    }

    void begin()
    {
        const std::lock_guard lock(mutex);
        device->begin();
        // Takes the place of a tape that was given up. Nothing is allocated: the function is small, and entries have
        // their space from the step before.
        tape.emplace(
            CollectiveTape::Collectives::Sent, [span = device.get()](int32_t place) { span->mark(place); },
            std::move(collectives));
        changed.notify_all();
    }

    /// @return whether there was work
    bool end()
    {
        const std::lock_guard lock(mutex);
        if (!tape)
            return false;
        collectives = tape->take();
        tape.reset();
        return true;
    }

    void watch()
    {
        std::unique_lock lock(mutex);
        int32_t reached = -1;
        auto since = Clock::now();
        while (!is_closing) {
            if (!tape) {
                changed.wait(lock);
                since = Clock::now();
                continue;
            }
            changed.wait_for(lock, timeout / kLooks);
            const int32_t place = device->reached();
            const auto hanging = tape && !is_closing ? tape->overtaken(place) : std::nullopt;
            if (!hanging || place != reached)
                since = Clock::now();
            else if (Clock::now() - since > timeout)
                give_up(*hanging, place);
            reached = place;
        }
    }

    void give_up(const CollectiveTape::Entry& at, int32_t place) const
    {
        at.group->health->die(at.group->failure_of(
            at.verb,
            fmt::format("not done {:g} s after the GPU had come to it; of the collectives of the {} it is number {}",
                        std::chrono::duration<double>(timeout).count(), kStep, place + 1)));
    }

    static constexpr int kLooks = 10; ///< in a timeout

    const std::unique_ptr<detail::DeviceSpan> device;
    const std::chrono::milliseconds timeout;
    const DeviceWait limit;
    std::vector<CollectiveTape::Entry> collectives; ///< of the work that ended last; its space is that of the next

    std::mutex mutex; ///< guards what follows
    std::condition_variable changed;
    std::optional<CollectiveTape> tape; ///< of the work under way
    bool is_closing = false;
    std::thread watcher;
};

WatchedWork::WatchedWork(std::unique_ptr<detail::DeviceSpan> device, std::chrono::milliseconds timeout)
    : impl_(new Impl(std::move(device), timeout))
{
}

WatchedWork::WatchedWork(at::Device device, std::chrono::milliseconds timeout)
    : WatchedWork(device.is_cpu() ? nullptr : detail::make_device_span(device), timeout)
{
    GRADWIND_CHECK(impl_->device != nullptr, ConfigError, "[comm] expected a GPU for work that is watched, found {}{}",
                   device.str(), device.is_cpu() ? "" : " in a build without CUDA");
}

WatchedWork::~WatchedWork() = default;

void WatchedWork::begin()
{
    impl_->begin();
}

void WatchedWork::wait()
{
    if (!impl_->end())
        return;
    impl_->device->end();
    impl_->limit.wait(*impl_->device, impl_->collectives, Clock::now());
}

} // namespace gradwind::parallel
