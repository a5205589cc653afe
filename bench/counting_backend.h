// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Tells what a communication library allocates in the calling thread from what its users do.
#pragma once
#include "bench/allocation_counter.h"
#include "gradwind/parallel/backend.h"

#include <memory>
#include <span>
#include <utility>

namespace gradwind::bench
{

/// Passes everything on, and counts allocations inside of repeated sums.
class CountingBackend : public parallel::detail::Backend
{
public:
    explicit CountingBackend(std::shared_ptr<Backend> inner) : inner_(std::move(inner)) {}
    /// In threads that started sums or waited for them, since this was made.
    [[nodiscard]] int64_t allocations() const { return *count_; }

    [[nodiscard]] at::Device device() const override { return inner_->device(); }
    [[nodiscard]] std::unique_ptr<parallel::detail::Ticket> all_reduce_sum(at::Tensor x) override
    {
        return inner_->all_reduce_sum(x);
    }
    [[nodiscard]] std::unique_ptr<parallel::detail::Repeatable> repeated_sum(at::Tensor x) override
    {
        return std::make_unique<Counted>(inner_->repeated_sum(x), count_);
    }
    void all_gather(at::Tensor out, at::Tensor in, std::span<const int64_t> rows) override
    {
        inner_->all_gather(out, in, rows);
    }
    void reduce_scatter_sum(at::Tensor out, at::Tensor in, std::span<const int64_t> rows) override
    {
        inner_->reduce_scatter_sum(out, in, rows);
    }
    [[nodiscard]] std::unique_ptr<parallel::detail::Ticket> all_to_all(at::Tensor out, at::Tensor in,
                                                                       std::span<const int64_t> receive_rows,
                                                                       std::span<const int64_t> send_rows) override
    {
        return inner_->all_to_all(out, in, receive_rows, send_rows);
    }
    void broadcast(at::Tensor x, int root) override { inner_->broadcast(x, root); }
    void barrier() override { inner_->barrier(); }

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

    std::shared_ptr<Backend> inner_;
    Count count_ = std::make_shared<std::atomic<int64_t>>(0);
};

} // namespace gradwind::bench
