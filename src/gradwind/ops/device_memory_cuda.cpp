// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/ops/device_memory_cuda.h"

#include <c10/cuda/CUDACachingAllocator.h>

namespace gradwind::ops
{

DeviceMemory cuda_memory(at::DeviceIndex index)
{
    // Element 0 of each statistic counts all pools together.
    const auto statistics = c10::cuda::CUDACachingAllocator::getDeviceStats(index);
    return {statistics.allocated_bytes[0].current, statistics.allocated_bytes[0].peak,
            statistics.reserved_bytes[0].peak};
}

void reset_cuda_peak(at::DeviceIndex index)
{
    c10::cuda::CUDACachingAllocator::resetPeakStats(index);
}

} // namespace gradwind::ops
