// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/watched_work.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/device_wait.h"

#include <optional>

namespace gradwind::parallel
{

using detail::CollectiveTape;
using detail::DeviceWait;

struct WatchedWork::Impl {
    std::unique_ptr<detail::DeviceSpan> device;
    DeviceWait limit;
    std::vector<CollectiveTape::Entry> collectives; ///< of the work that ended last; its space is that of the next
    std::optional<CollectiveTape> tape;             ///< of the work under way

    void end()
    {
        collectives = tape->take();
        tape.reset();
    }
};

WatchedWork::WatchedWork(std::unique_ptr<detail::DeviceSpan> device, std::chrono::milliseconds timeout)
    : impl_(new Impl{std::move(device), {timeout, {.step = "step", .begun = "queued"}}, {}, {}})
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
    impl_->device->begin();
    // Takes the place of a tape that was given up. Nothing is allocated: the function is small, and entries have their
    // space from the step before.
    impl_->tape.emplace(
        CollectiveTape::Collectives::Sent, [device = impl_->device.get()](int32_t place) { device->mark(place); },
        std::move(impl_->collectives));
}

void WatchedWork::wait()
{
    if (!impl_->tape)
        return;
    impl_->end();
    impl_->device->end();
    impl_->limit.wait(*impl_->device, impl_->collectives, DeviceWait::Clock::now());
}

} // namespace gradwind::parallel
