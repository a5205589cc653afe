// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// How much memory the tensors of this process take on a device.
#pragma once
#include <c10/core/Device.h>

#include <cstdint>

namespace gradwind::ops
{

struct DeviceMemory {
    int64_t allocated_bytes = 0; ///< held by tensors now
    int64_t peak_bytes = 0;      ///< the most since the process started, or since reset_peak_memory()
    int64_t reserved_bytes = 0;  ///< what the allocator keeps of the device at most, fragments included
};

/// On a CPU the process's resident memory, all three kinds alike but for the peak.
/// @throws ConfigError for a GPU in a build without CUDA
[[nodiscard]] DeviceMemory device_memory(at::Device device);

/// Peaks count from here. Does nothing on a CPU, where the peak is the process's.
void reset_peak_memory(at::Device device);

} // namespace gradwind::ops
