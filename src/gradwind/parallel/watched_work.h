// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What a training step starts on a GPU piece by piece, waited for with a limit.
#pragma once
#include <c10/core/Device.h>

#include <chrono>
#include <memory>

namespace gradwind::parallel
{

namespace detail
{
class DeviceSpan;
}

/// Work of a GPU whose collectives are named where they hang, as those of RecordedWork are: the GPU notes which of them
/// it has come to. They are sent and counted as ever; noting one costs a kernel of one thread.
///
/// A host that queues much may have to wait before it comes to wait(), because the GPU takes no more. A thread watches
/// for that: where the GPU comes to no further collective for as long as the timeout although there are some, the
/// groups of the world die, what waits in them is given up, and the next collective that the host calls throws.
///
/// No destructor waits for the GPU.
class WatchedWork
{
public:
    /// @param timeout  from wait() to the end of the work, where it has collectives, and before that from one
    /// collective
    ///                 to the next
    /// @throws ConfigError in a build without CUDA, and for a CPU
    WatchedWork(at::Device device, std::chrono::milliseconds timeout);
    WatchedWork(std::unique_ptr<detail::DeviceSpan> device, std::chrono::milliseconds timeout);
    ~WatchedWork();
    WatchedWork(const WatchedWork&) = delete;
    WatchedWork& operator=(const WatchedWork&) = delete;

    /// From now on collectives of this process, from any thread, are part of the work. Their groups must live until
    /// wait() returns. What an earlier begin() began and nobody waited for is given up.
    void begin();
    /// Ends the work with what the calling thread has queued so far, and waits until the GPU is done with it; returns
    /// at once if there is none. @throws CommError naming the collective that was reached, if that takes too long or
    /// another rank says that it has failed
    void wait();

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

} // namespace gradwind::parallel
