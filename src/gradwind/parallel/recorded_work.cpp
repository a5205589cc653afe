// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/recorded_work.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/device_graph.h"
#include "gradwind/parallel/device_wait.h"

namespace gradwind::parallel
{

using detail::CollectiveTape;
using detail::DeviceWait;

struct RecordedWork::Impl {
    std::shared_ptr<detail::DeviceGraph> graph;
    DeviceWait limit;
    std::vector<CollectiveTape::Entry> collectives;
    DeviceWait::Clock::time_point started{};
};

RecordedWork::RecordedWork(std::shared_ptr<detail::DeviceGraph> graph, std::chrono::milliseconds timeout)
    : impl_(new Impl{std::move(graph), {timeout, {.step = "recorded step", .begun = "started"}}, {}, {}})
{
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
        CollectiveTape tape(CollectiveTape::Collectives::Recorded,
                            [this](int32_t place) { impl_->graph->mark(place); });
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
    impl_->started = DeviceWait::Clock::now();
    impl_->graph->start();
}

void RecordedWork::after_other_work()
{
    impl_->graph->after_other_work();
}

void RecordedWork::wait()
{
    impl_->limit.wait(*impl_->graph, impl_->collectives, impl_->started);
}

void compute_beside_default_stream(at::Device device)
{
    if (!device.is_cpu())
        detail::leave_default_stream(device);
}

} // namespace gradwind::parallel
