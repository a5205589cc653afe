// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// How far a device has come with what the host has queued; private to parallel.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

namespace gradwind::parallel::detail
{

/// Work of a device with numbered places in it.
class DeviceProgress
{
public:
    virtual ~DeviceProgress() = default;
    /// From any thread, while the work is queued: the device is to note that it came here. @param place  grows
    virtual void mark(int32_t place) = 0;
    /// Whether the device has come to the end of what is queued.
    [[nodiscard]] virtual bool is_done() = 0;
    /// The place that the device noted last since the work began; -1: none.
    [[nodiscard]] virtual int32_t reached() const = 0;
};

/// Work that runs as it is called.
class DeviceSpan : public DeviceProgress
{
public:
    /// From here. The span before must be done, or given up.
    virtual void begin() = 0;
    /// To here: what the calling thread's stream has been given so far, and what that waits for.
    virtual void end() = 0;
};

/// @return null in a build without CUDA
[[nodiscard]] std::unique_ptr<DeviceSpan> make_device_span(at::Device device);

} // namespace gradwind::parallel::detail
