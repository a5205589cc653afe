// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Tells what a communication library allocates in the calling thread from what its users do.
#pragma once
#include "bench/allocation_counter.h"
#include "gradwind/parallel/passing_backend.h"

#include <memory>
#include <utility>

namespace gradwind::bench
{

/// Counts allocations inside of repeated sums.
class CountingBackend : public parallel::detail::PassingBackend
{
public:
    explicit CountingBackend(std::shared_ptr<Backend> inner) : PassingBackend(std::move(inner)) {}
    /// In threads that started sums or waited for them, since this was made.
    [[nodiscard]] int64_t allocations() const { return *count_; }
    [[nodiscard]] std::unique_ptr<parallel::detail::Repeatable> repeated_sum(at::Tensor x) override
    {
        return std::make_unique<Counted>(inner().repeated_sum(x), count_);
    }

private:
    using Count = std::shared_ptr<std::atomic<int64_t>>;
    class Counted : public parallel::detail::Repeatable
    {
    public:
        Counted(std::unique_ptr<Repeatable> inner, Count count) : inner_(std::move(inner)), count_(std::move(count)) {}
        void start() override
        {
            const int64_t before = n_allocations_of_own;
            inner_->start();
            *count_ += n_allocations_of_own - before;
        }
        void wait() override
        {
            const int64_t before = n_allocations_of_own;
            inner_->wait();
            *count_ += n_allocations_of_own - before;
        }
        [[nodiscard]] std::function<bool()> probe() const override { return inner_->probe(); }

    private:
        std::unique_ptr<Repeatable> inner_;
        Count count_;
    };

    Count count_ = std::make_shared<std::atomic<int64_t>>(0);
};

} // namespace gradwind::bench
