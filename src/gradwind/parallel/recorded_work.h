// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What a training step starts on a GPU, recorded once and then started with one call: a CUDA graph.
#pragma once
#include <c10/core/Device.h>

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

namespace gradwind::parallel
{

namespace detail
{
class DeviceGraph;
}

/// Kernels and collectives in the order in which they were first called, on the tensors that they then had. What the
/// host did meanwhile is not done again. Collectives are counted whenever they are started, and named where they hang.
///
/// The memory that the work allocated stays its own, from one start to the next.
class RecordedWork
{
public:
    /// @param timeout  for the whole of it, from start to end, where it has collectives
    /// @param beside   shares its memory; they are never under way together. Null: memory of its own
    /// @throws ConfigError in a build without CUDA, and for a CPU
    RecordedWork(at::Device device, std::chrono::milliseconds timeout, const RecordedWork* beside = nullptr);
    RecordedWork(std::shared_ptr<detail::DeviceGraph> graph, std::chrono::milliseconds timeout);
    ~RecordedWork();
    RecordedWork(const RecordedWork&) = delete;
    RecordedWork& operator=(const RecordedWork&) = delete;

    /// Runs `work` once without doing what it asks of the device. Everything in it must have run before, since what is
    /// made at first use cannot be recorded. Its groups must outlive this.
    /// @throws ConfigError if it waits for the device or copies from the host, which only the host can repeat
    void record(const std::function<void()>& work);
    /// Queues all of it. @collective as the work was
    void start();
    /// Work that is not recorded has been on the device, and no more of it is to come: the next start() undoes what
    /// that leaves behind, which takes it 0.2 s on a GPU (fast_starts_cuda.h).
    void after_other_work();
    /// Until the device is done with it. @throws CommError naming the collective that was reached, if that takes too
    /// long or another rank says that it has failed
    void wait();

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// Gives the calling thread a stream of its own on a GPU, once: the default one cannot be recorded. Before anything is
/// computed there.
void compute_beside_default_stream(at::Device device);

} // namespace gradwind::parallel
