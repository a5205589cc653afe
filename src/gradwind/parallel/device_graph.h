// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// A sequence of device work that is recorded once and started with one call; private to parallel.
#pragma once
#include "gradwind/parallel/device_progress.h"

#include <functional>
#include <memory>

namespace gradwind::parallel::detail
{

/// Records once, with its marks, and starts many times, on the stream that was the calling thread's when it was
/// recorded.
class DeviceGraph : public DeviceProgress
{
public:
    /// Runs `work` on the host; what it gives to the calling thread's stream, and to those that follow it, is recorded
    /// and not done.
    virtual void record(const std::function<void()>& work) = 0;
    /// Starts all of it. The start before must be done.
    virtual void start() = 0;
    /// Other work has been on the device since the last start, and the next one undoes what that leaves behind.
    virtual void after_other_work() {}
};

/// @param beside  shares its memory: neither may be started before the other is done. Null: memory of its own
/// @return null in a build without CUDA
[[nodiscard]] std::shared_ptr<DeviceGraph> make_device_graph(at::Device device, const DeviceGraph* beside);

/// The calling thread's stream of a GPU becomes one that can be recorded.
void leave_default_stream(at::Device device);

} // namespace gradwind::parallel::detail
