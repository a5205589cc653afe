// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/lane.h"

#include "gradwind/core/error.h"

#include <ATen/core/grad_mode.h>

#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace gradwind::parallel::detail
{
namespace
{

class ThreadLane : public Lane
{
public:
    explicit ThreadLane(Jobs jobs) : jobs_(std::move(jobs)), thread_([this] { work(); }) {}
    ThreadLane(const ThreadLane&) = delete;
    ThreadLane& operator=(const ThreadLane&) = delete;
    ~ThreadLane() override
    {
        {
            const std::lock_guard lock(mutex_);
            closing_ = true;
        }
        changed_.notify_all();
        thread_.join();
    }

    uint64_t submit(size_t job) override
    {
        uint64_t ticket = 0;
        {
            const std::lock_guard lock(mutex_);
            if (done_ == submitted_) { // nothing waits: use the space again
                waiting_.clear();
                first_ = 0;
            }
            waiting_.push_back(job);
            ticket = ++submitted_;
        }
        changed_.notify_all();
        return ticket;
    }

    void join(uint64_t ticket) override
    {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return done_ >= ticket; });
        if (failure_)
            std::rethrow_exception(failure_);
    }

private:
    void work()
    {
        const at::NoGradGuard no_grad;
        std::unique_lock lock(mutex_);
        for (;;) {
            changed_.wait(lock, [&] { return closing_ || first_ < waiting_.size(); });
            if (first_ >= waiting_.size())
                return;
            const size_t job = waiting_[first_++];
            if (!failure_) {
                lock.unlock();
                std::exception_ptr failure;
                try {
                    jobs_(job);
                } catch (...) {
                    failure = std::current_exception();
                }
                lock.lock();
                failure_ = failure;
            }
            ++done_;
            changed_.notify_all();
        }
    }

    Jobs jobs_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<size_t> waiting_;
    size_t first_ = 0; ///< of waiting_, not begun yet
    uint64_t submitted_ = 0, done_ = 0;
    std::exception_ptr failure_;
    bool closing_ = false;
    std::thread thread_; ///< last: it uses all the others
};

class HostStopwatch : public Stopwatch
{
public:
    void note(size_t mark) override
    {
        if (marks_.size() <= mark)
            marks_.resize(mark + 1);
        marks_[mark] = Clock::now();
    }
    [[nodiscard]] double seconds(size_t from, size_t to) override
    {
        return std::chrono::duration<double>(marks_.at(to) - marks_.at(from)).count();
    }

private:
    using Clock = std::chrono::steady_clock;
    std::vector<Clock::time_point> marks_;
};

} // namespace

std::unique_ptr<Lane> make_lane(at::Device device, Jobs jobs)
{
    if (device.is_cpu())
        return std::make_unique<ThreadLane>(std::move(jobs));
    auto lane = make_cuda_lane(device, std::move(jobs));
    GRADWIND_ASSERT(lane != nullptr);
    return lane;
}

std::unique_ptr<Stopwatch> make_stopwatch(at::Device device)
{
    if (device.is_cpu())
        return std::make_unique<HostStopwatch>();
    auto stopwatch = make_cuda_stopwatch(device);
    GRADWIND_ASSERT(stopwatch != nullptr);
    return stopwatch;
}

} // namespace gradwind::parallel::detail
