// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// When the buckets of one step are summed, hidden behind backward or not; private to parallel.
#pragma once
#include <chrono>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace gradwind::parallel::detail
{

/// A thread that asks one bucket after the other whether it is there. Only for steps that somebody looks at.
class BucketWatch
{
public:
    using Clock = std::chrono::steady_clock;

    explicit BucketWatch(Clock::time_point start) : start_(start), thread_([this] { work(); }) {}
    BucketWatch(const BucketWatch&) = delete;
    BucketWatch& operator=(const BucketWatch&) = delete;
    /// A step that failed is left: nobody knows when its buckets come.
    ~BucketWatch() { end(End::AtOnce); }

    /// The next bucket is under way. @param is_done  may be called until stop(); null: done
    void launched(std::function<bool()> is_done)
    {
        const std::lock_guard lock(mutex_);
        probes_.push_back(std::move(is_done));
    }

    /// Once all buckets are there. @return when each was, in seconds after the start
    [[nodiscard]] std::vector<double> stop()
    {
        end(End::WithAll);
        return std::move(summed_);
    }

private:
    enum class End { No, WithAll, AtOnce };

    void end(End how)
    {
        {
            const std::lock_guard lock(mutex_);
            end_ = how;
        }
        if (thread_.joinable())
            thread_.join();
    }

    void work()
    {
        constexpr auto pause = std::chrono::microseconds(20);
        for (;; std::this_thread::sleep_for(pause)) {
            const std::lock_guard lock(mutex_);
            while (summed_.size() < probes_.size() && is_done(probes_[summed_.size()]))
                summed_.push_back(std::chrono::duration<double>(Clock::now() - start_).count());
            if (end_ == End::AtOnce || (end_ == End::WithAll && summed_.size() == probes_.size()))
                return;
        }
    }

    static bool is_done(const std::function<bool()>& probe) { return !probe || probe(); }

    const Clock::time_point start_;
    std::mutex mutex_;
    std::vector<std::function<bool()>> probes_;
    std::vector<double> summed_;
    End end_ = End::No;
    std::thread thread_; ///< last: it uses the others
};

} // namespace gradwind::parallel::detail
