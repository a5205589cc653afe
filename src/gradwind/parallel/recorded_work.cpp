// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/recorded_work.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/collective_tape.h"
#include "gradwind/parallel/device_graph.h"

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>

namespace gradwind::parallel
{

namespace detail
{
namespace
{

std::atomic<CollectiveTape*> the_tape = nullptr;

} // namespace

CollectiveTape::CollectiveTape(std::function<void(int32_t)> before) : before_(std::move(before))
{
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

void CollectiveTape::add(const Entry& entry)
{
    const std::lock_guard lock(mutex_);
    if (entry.group->backend)
        before_(static_cast<int32_t>(entries_.size()));
    entries_.push_back(entry);
}

} // namespace detail

namespace
{

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

// A step takes tens of milliseconds: these pauses cost nothing, and leave the core to whoever reads the next batch.
constexpr auto kPause = 20us;
constexpr std::chrono::milliseconds kFirstLook = 1s, kLook = 200ms; ///< at what other ranks say

} // namespace

struct RecordedWork::Impl {
    std::shared_ptr<detail::DeviceGraph> graph;
    std::chrono::milliseconds timeout;
    std::vector<detail::CollectiveTape::Entry> collectives;
    Clock::time_point started{};

    /// @throws CommError in the name of the collective that the device came to last
    [[noreturn]] void give_up(const std::string& why) const
    {
        const auto place = std::clamp<int64_t>(graph->reached(), 0, int64_t(collectives.size()) - 1);
        const auto& at = collectives[size_t(place)];
        at.group->raise(at.verb, fmt::format("{}; of the {} collectives of the recorded step it is number {}", why,
                                             collectives.size(), place + 1));
    }

    [[nodiscard]] std::string word_of_others() const
    {
        auto* board = collectives.front().group->health->board();
        return board ? board->read() : std::string();
    }
};

RecordedWork::RecordedWork(std::shared_ptr<detail::DeviceGraph> graph, std::chrono::milliseconds timeout)
    : impl_(std::make_unique<Impl>())
{
    impl_->graph = std::move(graph);
    impl_->timeout = timeout;
}

RecordedWork::RecordedWork(at::Device device, std::chrono::milliseconds timeout, const RecordedWork* beside)
    : RecordedWork(device.is_cpu() ? nullptr
                                   : detail::make_device_graph(device, beside ? beside->impl_->graph.get() : nullptr),
                   timeout)
{
    GRADWIND_CHECK(impl_->graph != nullptr, ConfigError, "[graph] expected a GPU for work that is recorded, found {}{}",
                   device.str(), device.is_cpu() ? "" : " in a build without CUDA");
}

RecordedWork::~RecordedWork() = default;

void RecordedWork::record(const std::function<void()>& work)
{
    try {
        detail::CollectiveTape tape([this](int32_t place) { impl_->graph->mark(place); });
        impl_->graph->record(work);
        impl_->collectives = tape.take();
    } catch (const Error&) {
        throw;
    } catch (const c10::Error& error) {
        throw ConfigError(
            fmt::format("[graph] this step cannot be recorded, leave training.strategy.cuda_graphs out: {}",
                        error.what_without_backtrace()));
    }
}

void RecordedWork::start()
{
    for (const auto& entry : impl_->collectives)
        entry.group->count(entry.verb, entry.bytes);
    impl_->started = Clock::now();
    impl_->graph->start();
}

void RecordedWork::wait()
{
    auto look = impl_->started + std::min(kFirstLook, impl_->timeout);
    while (!impl_->graph->is_done()) {
        std::this_thread::sleep_for(kPause);
        const auto now = Clock::now();
        if (impl_->collectives.empty() || now < look)
            continue;
        if (now > impl_->started + impl_->timeout)
            impl_->give_up(fmt::format("not done {:g} s after the step was started",
                                       std::chrono::duration<double>(impl_->timeout).count()));
        if (!impl_->word_of_others().empty())
            impl_->give_up("another rank will not come");
        look = now + kLook;
    }
}

void compute_beside_default_stream(at::Device device)
{
    if (!device.is_cpu())
        detail::leave_default_stream(device);
}

} // namespace gradwind::parallel
