// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The allocator of a GPU; device_memory_cuda.cpp, or no_cuda.cpp where there is none.
#pragma once
#include "gradwind/ops/device_memory.h"

namespace gradwind::ops
{

[[nodiscard]] DeviceMemory cuda_memory(at::DeviceIndex index);
void reset_cuda_peak(at::DeviceIndex index);

} // namespace gradwind::ops
