// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// For what measures collectives or spoils them: override one kind of call, the others go through.
#pragma once
#include "gradwind/parallel/backend.h"

#include <memory>
#include <utility>

namespace gradwind::parallel::detail
{

/// Passes everything on to another backend, whose collectives and errors are its own.
class PassingBackend : public Backend
{
public:
    explicit PassingBackend(std::shared_ptr<Backend> inner) : inner_(std::move(inner)) {}
    [[nodiscard]] at::Device device() const override { return inner_->device(); }
    [[nodiscard]] std::unique_ptr<Ticket> all_reduce_sum(at::Tensor x, Queue queue) override
    {
        return inner_->all_reduce_sum(x, queue);
    }
    [[nodiscard]] std::unique_ptr<Repeatable> repeated_sum(at::Tensor x) override { return inner_->repeated_sum(x); }
    [[nodiscard]] std::unique_ptr<Repeatable> copied_sum(at::Tensor x, WireType wire, Queue queue) override
    {
        return inner_->copied_sum(x, wire, queue);
    }
    void all_gather(at::Tensor out, at::Tensor in, std::span<const int64_t> rows) override
    {
        inner_->all_gather(out, in, rows);
    }
    void reduce_scatter_sum(at::Tensor out, at::Tensor in, std::span<const int64_t> rows) override
    {
        inner_->reduce_scatter_sum(out, in, rows);
    }
    [[nodiscard]] std::unique_ptr<Ticket> all_to_all(at::Tensor out, at::Tensor in,
                                                     std::span<const int64_t> receive_rows,
                                                     std::span<const int64_t> send_rows) override
    {
        return inner_->all_to_all(out, in, receive_rows, send_rows);
    }
    void broadcast(at::Tensor x, int root) override { inner_->broadcast(x, root); }
    void barrier() override { inner_->barrier(); }
    void give_up() noexcept override { inner_->give_up(); }

protected:
    [[nodiscard]] Backend& inner() { return *inner_; }

private:
    std::shared_ptr<Backend> inner_;
};

} // namespace gradwind::parallel::detail
