// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Steps that are recorded and started again, as training does under training.strategy.cuda_graphs.
#pragma once
#include "gradwind/parallel/gradient_engine.h"
#include "gradwind/parallel/recorded_work.h"

#include <functional>
#include <map>
#include <memory>
#include <set>

namespace gradwind::bench
{

class RecordedSteps
{
public:
    /// For one engine, whose buckets stay.
    explicit RecordedSteps(at::Device device) : device_(device) {}

    /// One step. Each kind runs as it is once, since what is made at first use cannot be recorded; steps of two kinds,
    /// as with factors, share memory.
    /// @param compute  from begin_step() to finish(), always of the same tensors
    void run(parallel::GradientEngine& engine, const std::function<void()>& compute)
    {
        const auto kind = engine.kind_of_next_step();
        if (!kind || seen_.insert(*kind).second) {
            compute();
            return;
        }
        auto& work = recordings_[*kind];
        if (work) {
            engine.repeat_step();
        } else {
            work = std::make_unique<parallel::RecordedWork>(device_, std::chrono::minutes(10), last_);
            work->record(compute);
        }
        last_ = work.get();
        work->start();
    }

private:
    at::Device device_;
    std::set<int64_t> seen_;
    std::map<int64_t, std::unique_ptr<parallel::RecordedWork>> recordings_;
    const parallel::RecordedWork* last_ = nullptr;
};

} // namespace gradwind::bench
