// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// How far a GPU has come in a step that is not recorded.
#include "gradwind/parallel/device_place_cuda.h"
#include "gradwind/parallel/device_progress.h"

#include <ATen/cuda/CUDAEvent.h>

namespace gradwind::parallel::detail
{
namespace
{

/// Nothing here waits for the GPU, so that a process can leave one that hangs.
class CudaSpan : public DeviceSpan
{
public:
    explicit CudaSpan(at::Device device) : device_(device), place_(device) {}

    void begin() override { place_.clear(); }
    void mark(int32_t place) override { place_.mark(place); }
    void end() override
    {
        const c10::cuda::CUDAGuard guard(device_);
        ended_.record(c10::cuda::getCurrentCUDAStream(device_.index()));
    }
    [[nodiscard]] bool is_done() override { return ended_.query(); }
    [[nodiscard]] int32_t reached() const override { return place_.noted(); }

private:
    const at::Device device_;
    DevicePlace place_;
    at::cuda::CUDAEvent ended_;
};

} // namespace

std::unique_ptr<DeviceSpan> make_device_span(at::Device device)
{
    return std::make_unique<CudaSpan>(device);
}

} // namespace gradwind::parallel::detail
