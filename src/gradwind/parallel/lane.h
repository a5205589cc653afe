// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Work that goes on beside the computation, in order; private to parallel.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>

namespace gradwind::parallel::detail
{

/// Runs numbered jobs one after another: on a CPU in a thread, on a GPU queued at once on a stream of its own, behind
/// what the submitting thread's stream has queued so far. Jobs may use collectives; no gradients are recorded.
class Lane
{
public:
    virtual ~Lane() = default;
    /// Returns at once. @return a number for join()
    virtual uint64_t submit(size_t job) = 0;
    /// What the caller does (or queues) from now on sees the results of this job and those before it.
    /// @throws whatever the first of them that failed has thrown; jobs after a failed one are not run
    virtual void join(uint64_t ticket) = 0;
    /// Says whether this job is done, from any thread, while the lane lives.
    [[nodiscard]] virtual std::function<bool()> probe(uint64_t ticket) = 0;
};

/// Holds a share of all that it uses: on a CPU a job that waits for another rank may be left behind in its thread when
/// the lane is given up.
using Jobs = std::function<void(size_t)>;
[[nodiscard]] std::unique_ptr<Lane> make_lane(at::Device device, Jobs jobs);

/// Moments in the order of the device's work, whose distance is known once the device has come there.
class Stopwatch
{
public:
    virtual ~Stopwatch() = default;
    /// Notes that the calling thread's queue is here. @param mark  small, chosen by the caller
    virtual void note(size_t mark) = 0;
    /// Seconds between two marks, waiting for the device if need be.
    [[nodiscard]] virtual double seconds(size_t from, size_t to) = 0;
};
[[nodiscard]] std::unique_ptr<Stopwatch> make_stopwatch(at::Device device);

/// Null in a build without CUDA.
[[nodiscard]] std::unique_ptr<Lane> make_cuda_lane(at::Device device, Jobs jobs);
[[nodiscard]] std::unique_ptr<Stopwatch> make_cuda_stopwatch(at::Device device);

} // namespace gradwind::parallel::detail
