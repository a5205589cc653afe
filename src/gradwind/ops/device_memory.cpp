// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/ops/device_memory.h"

#include "gradwind/ops/device_memory_cuda.h"

#include <sys/resource.h>
#include <unistd.h>

#include <fstream>

namespace gradwind::ops
{

namespace
{

int64_t resident_bytes()
{
    int64_t total = 0, resident = 0;
    std::ifstream("/proc/self/statm") >> total >> resident;
    return resident * ::sysconf(_SC_PAGESIZE);
}

} // namespace

DeviceMemory device_memory(at::Device device)
{
    if (device.is_cuda())
        return cuda_memory(device.index());
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto now = resident_bytes();
    return {now, usage.ru_maxrss * 1024, now};
}

void reset_peak_memory(at::Device device)
{
    if (device.is_cuda())
        reset_cuda_peak(device.index());
}

} // namespace gradwind::ops
