// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// When things happened in a reduced step; private to parallel.
#pragma once
#include "gradwind/parallel/bucket_watch.h"
#include "gradwind/parallel/collective_tape.h"
#include "gradwind/parallel/exchange.h"
#include "gradwind/parallel/gradient_engine.h"
#include "gradwind/parallel/lane.h"

#include <chrono>
#include <memory>
#include <optional>

namespace gradwind::parallel::detail
{

/// Fills the report of the step under way. Guards nothing: what autograd threads note is noted under the engine's lock.
class StepTiming
{
public:
    explicit StepTiming(at::Device device) : stopwatch_(make_stopwatch(device)) {}

    /// Buckets are others from now on. @param bytes  of the gradients in each
    void lay_out(const std::vector<int64_t>& bytes)
    {
        report_.buckets.assign(bytes.size(), {});
        for (size_t bucket = 0; bucket < bytes.size(); ++bucket)
            report_.buckets[bucket].bytes = bytes[bucket];
    }

    void begin_backward()
    {
        start_ = Clock::now();
        on_device_ = CollectiveTape::is_recording();
        stopwatch_->note(kBackward);
        if (watch_next_)
            watch_.emplace(start_);
    }
    /// Of a rank without samples, which has no backward.
    void begin_without_backward()
    {
        start_ = Clock::now();
        on_device_ = false;
    }
    void begin_finish()
    {
        report_.backward = now();
        stopwatch_->note(kFinish);
    }
    void ready(size_t bucket) { report_.buckets[bucket].ready = now(); }
    void launch(size_t bucket)
    {
        report_.buckets[bucket].launched = now();
        if (bucket == 0)
            stopwatch_->note(kFirstLaunch);
    }
    void launched(size_t bucket, const Exchange& exchange)
    {
        if (!watch_)
            return;
        stopwatch_->note(kFirstBucket + bucket);
        watch_->launched(exchange.probe(bucket));
    }
    /// Waits for a bucket.
    void wait(size_t bucket, Exchange& exchange)
    {
        const double before = now();
        exchange.wait(bucket);
        report_.buckets[bucket].waited = now() - before;
        report_.buckets[bucket].on_wire = exchange.wire_bytes(bucket);
    }
    void end(size_t launched_in_backward)
    {
        stopwatch_->note(kSummed);
        if (watch_)
            end_watch();
        report_.began = start_;
        report_.launched_in_backward = launched_in_backward;
        ended_ = true;
    }

    /// What was timed when it was recorded has been started again.
    void repeated() { report_.began = Clock::now(); }

    void watch_next_step() { watch_next_ = true; }
    [[nodiscard]] bool watches_next_step() const { return watch_next_; }

    /// Of the last step that ended; waits for the device.
    [[nodiscard]] const BucketReport& report()
    {
        if (ended_)
            report_.exposed = stopwatch_->seconds(kFinish, kSummed);
        if (ended_ && on_device_)
            take_from_device();
        return report_;
    }

private:
    using Clock = std::chrono::steady_clock;
    enum Mark : size_t { kBackward, kFinish, kSummed, kFirstLaunch, kFirstBucket };

    [[nodiscard]] double now() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

    /// The host was not there when a recorded step ran.
    void take_from_device()
    {
        report_.backward = stopwatch_->seconds(kBackward, kFinish);
        for (auto& bucket : report_.buckets)
            bucket.ready = bucket.launched = bucket.waited = 0;
        if (!report_.buckets.empty())
            report_.buckets.front().launched = stopwatch_->seconds(kBackward, kFirstLaunch);
    }

    void end_watch()
    {
        const auto summed = watch_->stop();
        watch_.reset();
        watch_next_ = false;
        for (size_t bucket = 0; bucket < report_.buckets.size(); ++bucket) {
            report_.buckets[bucket].summed = summed[bucket];
            report_.buckets[bucket].launched_on_device = stopwatch_->seconds(kBackward, kFirstBucket + bucket);
        }
    }

    std::unique_ptr<Stopwatch> stopwatch_;
    BucketReport report_;
    bool watch_next_ = false;
    std::optional<BucketWatch> watch_; ///< of the step under way
    bool ended_ = false;               ///< at least one step
    bool on_device_ = false;           ///< the step that ended last is a recorded one
    Clock::time_point start_;
};

} // namespace gradwind::parallel::detail
