// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/fast_starts_cuda.h"

#include "gradwind/parallel/cuda_driver.h"

#include <c10/cuda/CUDAGuard.h>

#include <cuda.h>
#include <cuda_runtime.h>

namespace gradwind::parallel::detail
{
namespace
{

constexpr size_t kFree = size_t(1) << 30;
constexpr size_t kWords = 1024;

struct Driver {
    const CudaDriver library;
    CUresult (*const device)(CUdevice*, int) = library.find<decltype(device)>("cuDeviceGet");
    CUresult (*const create)(CUcontext*, unsigned, CUdevice) = library.find<decltype(create)>("cuCtxCreate_v2");
    CUresult (*const pop)(CUcontext*) = library.find<decltype(pop)>("cuCtxPopCurrent_v2");
    CUresult (*const destroy)(CUcontext) = library.find<decltype(destroy)>("cuCtxDestroy_v2");
    CUresult (*const allocate)(CUdeviceptr*, size_t) = library.find<decltype(allocate)>("cuMemAlloc_v2");
    CUresult (*const fill)(CUdeviceptr, unsigned, size_t) = library.find<decltype(fill)>("cuMemsetD32_v2");
    CUresult (*const synchronise)() = library.find<decltype(synchronise)>("cuCtxSynchronize");

    [[nodiscard]] bool is_complete() const
    {
        return device && create && pop && destroy && allocate && fill && synchronise;
    }
};

} // namespace

void restore_fast_starts(c10::Device device)
{
    static const Driver driver;
    const c10::cuda::CUDAGuard guard(device);
    size_t free = 0, total = 0;
    CUdevice gpu = 0;
    CUcontext other = nullptr, left = nullptr;
    if (!driver.is_complete() || cudaDeviceSynchronize() != cudaSuccess ||
        cudaMemGetInfo(&free, &total) != cudaSuccess || free < kFree ||
        driver.device(&gpu, device.index()) != CUDA_SUCCESS || driver.create(&other, 0, gpu) != CUDA_SUCCESS)
        return;
    CUdeviceptr words = 0;
    if (driver.allocate(&words, kWords * sizeof(unsigned)) == CUDA_SUCCESS)
        (void)driver.fill(words, 0, kWords);
    (void)driver.synchronise();
    (void)driver.pop(&left);
    (void)driver.destroy(other);
}

} // namespace gradwind::parallel::detail
