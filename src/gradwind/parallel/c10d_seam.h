// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The only place in parallel that knows how c10d differs between torch 1.13 and 2.x; private to parallel.
#pragma once
#include "gradwind/core/torch_version.h"
#include "gradwind/parallel/backend.h"

#if GRADWIND_TORCH_AT_LEAST(2, 0)
#include <torch/csrc/distributed/c10d/Backend.hpp>
#else
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#endif
#include <torch/csrc/distributed/c10d/Store.hpp>

namespace gradwind::parallel::detail
{

#if GRADWIND_TORCH_AT_LEAST(2, 0)
using C10dBackend = c10d::Backend;
#else
using C10dBackend = c10d::ProcessGroup; // the abstract base of ProcessGroupGloo, before there was Backend
#endif

class StoreHandle
{
public:
    explicit StoreHandle(c10::intrusive_ptr<c10d::Store> store) : store(std::move(store)) {}
    c10::intrusive_ptr<c10d::Store> store;
};

/// A c10d work item, which keeps its tensors alive.
class C10dTicket : public Ticket
{
public:
    C10dTicket(c10::intrusive_ptr<c10d::Work> work, std::vector<at::Tensor> tensors)
        : work_(std::move(work)), tensors_(std::move(tensors))
    {
    }
    void wait() override
    {
        if (work_)
            work_->wait();
    }
    [[nodiscard]] std::function<bool()> probe() const override
    {
        return [work = work_] { return !work || work->isCompleted(); };
    }

private:
    c10::intrusive_ptr<c10d::Work> work_; ///< may be null where it is in the caller's queue
    std::vector<at::Tensor> tensors_;
};

/// All-reduces of one tensor: what is new in each is what c10d makes.
class C10dRepeatedSum : public Repeatable
{
public:
    C10dRepeatedSum(c10::intrusive_ptr<C10dBackend> group, const at::Tensor& x)
        : group_(std::move(group)), tensors_({x.detach()})
    {
    }
    void start() override { work_ = group_->allreduce(tensors_); }
    void wait() override { work_->wait(); }
    [[nodiscard]] std::function<bool()> probe() const override
    {
        return [work = work_] { return work->isCompleted(); };
    }

private:
    c10::intrusive_ptr<C10dBackend> group_;
    c10::intrusive_ptr<c10d::Work> work_;
    std::vector<at::Tensor> tensors_;
};

} // namespace gradwind::parallel::detail
