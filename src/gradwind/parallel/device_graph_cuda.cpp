// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// CUDA graphs.
#include "gradwind/core/error.h"
#include "gradwind/parallel/device_graph.h"
#include "gradwind/parallel/device_place_cuda.h"
#include "gradwind/parallel/fast_starts_cuda.h"

#include <ATen/cuda/CUDAEvent.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>

namespace gradwind::parallel::detail
{
namespace
{

class CudaGraph : public DeviceGraph
{
public:
    CudaGraph(at::Device device, const CudaGraph* beside)
        : device_(device), pool_(beside ? beside->pool_ : at::cuda::graph_pool_handle()), place_(device)
    {
    }

    void record(const std::function<void()>& work) override
    {
        const c10::cuda::CUDAGuard guard(device_);
        stream_ = c10::cuda::getCurrentCUDAStream(device_.index());
        GRADWIND_CHECK(*stream_ != c10::cuda::getDefaultCUDAStream(device_.index()), InternalError,
                       "[graph] the default stream of a GPU cannot be recorded");
        // What other work left in the allocator's hands cannot serve this one, which has memory of its own.
        c10::cuda::CUDACachingAllocator::emptyCache();
        // Other threads go on reading and copying batches, which is none of this recording's business.
        graph_.capture_begin(pool_, cudaStreamCaptureModeThreadLocal);
        try {
            work();
        } catch (...) {
            give_up();
            throw;
        }
        graph_.capture_end();
    }

    void mark(int32_t place) override { place_.mark(place); }

    void start() override
    {
        const c10::cuda::CUDAGuard guard(device_);
        if (starts_until_fast_ > 0 && --starts_until_fast_ == 0)
            restore_fast_starts(device_);
        place_.clear();
        graph_.replay();
        done_.record(*stream_);
    }

    void after_other_work() override { starts_until_fast_ = 1; }

    [[nodiscard]] bool is_done() override { return done_.query(); }
    [[nodiscard]] int32_t reached() const override { return place_.noted(); }

private:
    void give_up() noexcept
    {
        try {
            graph_.capture_end();
        } catch (...) {
            // What made the recording fail is on its way to the caller.
        }
    }

    const at::Device device_;
    const at::cuda::MempoolId_t pool_;
    std::optional<c10::cuda::CUDAStream> stream_;
    at::cuda::CUDAGraph graph_;
    at::cuda::CUDAEvent done_;
    DevicePlace place_;
    int starts_until_fast_ = 2; ///< the first may come before the last step that is not recorded, of another kind
};

} // namespace

std::shared_ptr<DeviceGraph> make_device_graph(at::Device device, const DeviceGraph* beside)
{
    return std::make_shared<CudaGraph>(device, dynamic_cast<const CudaGraph*>(beside));
}

void leave_default_stream(at::Device device)
{
    const auto current = c10::cuda::getCurrentCUDAStream(device.index());
    if (current == c10::cuda::getDefaultCUDAStream(device.index()))
        c10::cuda::setCurrentCUDAStream(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device.index()));
}

} // namespace gradwind::parallel::detail
