// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Lanes and stopwatches on CUDA streams and events.
#include "gradwind/parallel/lane.h"

#include <ATen/core/grad_mode.h>
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <array>
#include <deque>
#include <type_traits>

namespace gradwind::parallel::detail
{
namespace
{

constexpr size_t kEvents = 256; ///< more jobs than are ever under way at once

class StreamLane : public Lane
{
public:
    StreamLane(at::Device device, Jobs jobs)
        : jobs_(std::move(jobs)), stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true, device.index()))
    {
    }

    uint64_t submit(size_t job) override
    {
        const at::NoGradGuard no_grad;
        before_.record(c10::cuda::getCurrentCUDAStream(stream_.device_index()));
        before_.block(stream_);
        const c10::cuda::CUDAStreamGuard guard(stream_);
        jobs_(job);
        after_[submitted_ % kEvents].record(stream_);
        return ++submitted_;
    }

    void join(uint64_t ticket) override
    {
        if (ticket > 0)
            after_[(ticket - 1) % kEvents].block(c10::cuda::getCurrentCUDAStream(stream_.device_index()));
    }

    [[nodiscard]] std::function<bool()> probe(uint64_t ticket) override
    {
        return [event = &after_[(ticket - 1) % kEvents]] { return event->query(); };
    }

private:
    Jobs jobs_;
    c10::cuda::CUDAStream stream_;
    at::cuda::CUDAEvent before_;
    std::array<at::cuda::CUDAEvent, kEvents> after_;
    uint64_t submitted_ = 0;
};

class EventStopwatch : public Stopwatch
{
public:
    explicit EventStopwatch(at::Device device) : device_(device) {}

    void note(size_t mark) override
    {
        const c10::cuda::CUDAGuard guard(device_);
        while (events_.size() <= mark)
            events_.emplace_back();
        const auto stream = c10::cuda::getCurrentCUDAStream(device_.index()).stream();
        cudaStreamCaptureStatus status{};
        C10_CUDA_CHECK(cudaStreamIsCapturing(stream, &status));
        // External: the event is recorded whenever the recording is started.
        C10_CUDA_CHECK(cudaEventRecordWithFlags(events_[mark].get(), stream,
                                                status == cudaStreamCaptureStatusNone ? cudaEventRecordDefault
                                                                                      : cudaEventRecordExternal));
    }
    [[nodiscard]] double seconds(size_t from, size_t to) override
    {
        float milliseconds = 0;
        C10_CUDA_CHECK(cudaEventSynchronize(events_.at(to).get()));
        C10_CUDA_CHECK(cudaEventElapsedTime(&milliseconds, events_.at(from).get(), events_.at(to).get()));
        return 1e-3 * static_cast<double>(milliseconds);
    }

private:
    struct Destroy {
        void operator()(cudaEvent_t event) const { (void)cudaEventDestroy(event); }
    };
    /// With times, which torch's own does not record in what is captured.
    class TimedEvent
    {
    public:
        TimedEvent()
        {
            cudaEvent_t event = nullptr;
            C10_CUDA_CHECK(cudaEventCreate(&event));
            event_.reset(event);
        }
        [[nodiscard]] cudaEvent_t get() const { return event_.get(); }

    private:
        std::unique_ptr<std::remove_pointer_t<cudaEvent_t>, Destroy> event_;
    };

    const at::Device device_;
    std::deque<TimedEvent> events_;
};

} // namespace

std::unique_ptr<Lane> make_cuda_lane(at::Device device, Jobs jobs)
{
    return std::make_unique<StreamLane>(device, std::move(jobs));
}

std::unique_ptr<Stopwatch> make_cuda_stopwatch(at::Device device)
{
    return std::make_unique<EventStopwatch>(device);
}

} // namespace gradwind::parallel::detail
