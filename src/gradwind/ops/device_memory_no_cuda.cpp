// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/error.h"
#include "gradwind/ops/device_memory_cuda.h"

namespace gradwind::ops
{

DeviceMemory cuda_memory(at::DeviceIndex)
{
    throw ConfigError("[ops] this build knows no GPU: configure with -DGRADWIND_CUDA=ON");
}

void reset_cuda_peak(at::DeviceIndex)
{
    throw ConfigError("[ops] this build knows no GPU: configure with -DGRADWIND_CUDA=ON");
}

} // namespace gradwind::ops
