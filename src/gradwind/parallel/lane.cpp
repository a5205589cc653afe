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

// A job that waits for another rank can take until the timeout of the collectives. Whoever leaves because of an error
// does not wait that long: once this process has ended, the other ranks know.
constexpr auto kPatience = std::chrono::seconds(2);

class ThreadLane : public Lane
{
public:
    explicit ThreadLane(Jobs jobs) : shared_(std::make_shared<Shared>(std::move(jobs)))
    {
        // The thread may outlive this object, so it has a share of all it uses.
        thread_ = std::thread([shared = shared_] { shared->work(); });
    }
    ThreadLane(const ThreadLane&) = delete;
    ThreadLane& operator=(const ThreadLane&) = delete;
    ~ThreadLane() override
    {
        std::unique_lock lock(shared_->mutex);
        shared_->closing = true;
        shared_->changed.notify_all();
        const bool ended = shared_->changed.wait_for(lock, kPatience, [&] { return shared_->ended; });
        lock.unlock();
        ended ? thread_.join() : thread_.detach();
    }

    uint64_t submit(size_t job) override
    {
        const std::lock_guard lock(shared_->mutex);
        if (shared_->done == shared_->submitted) { // nothing waits: use the space again
            shared_->waiting.clear();
            shared_->first = 0;
        }
        shared_->waiting.push_back(job);
        shared_->changed.notify_all();
        return ++shared_->submitted;
    }

    void join(uint64_t ticket) override
    {
        std::unique_lock lock(shared_->mutex);
        shared_->changed.wait(lock, [&] { return shared_->done >= ticket; });
        if (shared_->failure)
            std::rethrow_exception(shared_->failure);
    }

    [[nodiscard]] std::function<bool()> probe(uint64_t ticket) override
    {
        return [shared = shared_, ticket] {
            const std::lock_guard lock(shared->mutex);
            return shared->done >= ticket;
        };
    }

private:
    struct Shared {
        explicit Shared(Jobs jobs) : jobs(std::move(jobs)) {}

        const Jobs jobs;
        std::mutex mutex;
        std::condition_variable changed;
        std::vector<size_t> waiting;
        size_t first = 0; ///< of waiting, not begun yet
        uint64_t submitted = 0, done = 0;
        std::exception_ptr failure;
        bool closing = false, ended = false;

        void work()
        {
            const at::NoGradGuard no_grad;
            std::unique_lock lock(mutex);
            for (;;) {
                changed.wait(lock, [&] { return closing || first < waiting.size(); });
                if (closing)
                    break;
                const size_t job = waiting[first++];
                if (!failure)
                    run(job, lock);
                ++done;
                changed.notify_all();
            }
            ended = true;
            changed.notify_all();
        }

        void run(size_t job, std::unique_lock<std::mutex>& lock)
        {
            lock.unlock();
            std::exception_ptr thrown;
            try {
                jobs(job);
            } catch (...) {
                thrown = std::current_exception();
            }
            lock.lock();
            failure = thrown;
        }
    };

    std::shared_ptr<Shared> shared_;
    std::thread thread_;
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
