// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/ready_tracker.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/lane.h"

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <atomic>
#include <mutex>

namespace gradwind::parallel::detail
{

namespace
{

/// What a hook has to know of its parameter, side by side.
struct Slot {
    const at::Tensor* grad = nullptr;          ///< its .grad, wherever that points
    const c10::TensorImpl* gradient = nullptr; ///< the view of the arena that it has to be
    std::atomic<int> seen = 0;                 ///< additions since the begin of the backward
    int expected = 0;
    uint32_t first_bucket = 0, last_bucket = 0; ///< that it reaches into
};

} // namespace

struct ReadyTracker::Shared {
    Shared(const Arena& arena, BucketTable& buckets, Listener& listener)
        : buckets(buckets), listener(listener), device(arena.parameters().front().tensor.device()),
          slots(arena.parameters().size()), last(slots.size())
    {
    }

    BucketTable& buckets;
    Listener& listener;
    const at::Device device;

    std::atomic<Mode> mode = Mode::Off;
    std::atomic<int64_t> replaced = -1;
    std::atomic<bool> exceeded = false;
    std::vector<Slot> slots;                ///< by parameter
    std::vector<std::atomic<int64_t>> last; ///< value of the clock at the latest addition; only when recording
    std::atomic<int64_t> clock = 0;
    std::unique_ptr<Stopwatch> stopwatch; ///< mark 0: begin of the recording; 1 + index: an addition
    std::mutex stopwatch_mutex;

    void on_addition(Slot& slot)
    {
        const Mode now = mode.load(std::memory_order_acquire);
        if (now == Mode::Off)
            return;
        // Here, where autograd has just had them in its hands, rather than for all parameters once a step.
        if (slot.grad->unsafeGetTensorImpl() != slot.gradient) [[unlikely]]
            replaced.store(index_of(slot), std::memory_order_relaxed);
        if (now == Mode::Watch)
            return;
        // Additions to one gradient come one after another, so this need not be a single operation.
        const int count = slot.seen.load(std::memory_order_relaxed) + 1;
        slot.seen.store(count, std::memory_order_relaxed);
        if (now == Mode::Record)
            record(slot);
        else if (count == slot.expected)
            complete(slot);
        else if (count > slot.expected && slot.expected > 0) {
            exceeded.store(true, std::memory_order_relaxed);
            listener.late(static_cast<size_t>(index_of(slot)));
        }
    }

private:
    [[nodiscard]] int64_t index_of(const Slot& slot) const { return &slot - slots.data(); }

    void complete(const Slot& slot)
    {
        for (size_t bucket = slot.first_bucket; bucket <= slot.last_bucket; ++bucket)
            if (buckets.count_down(bucket))
                listener.bucket_ready(bucket);
    }

    void record(const Slot& slot)
    {
        const auto index = static_cast<size_t>(index_of(slot));
        last[index] = clock.fetch_add(1) + 1;
        const std::lock_guard lock(stopwatch_mutex);
        stopwatch->note(1 + index);
    }
};

/// Runs after AccumulateGrad has added to .grad.
struct ReadyTracker::Hook : torch::autograd::FunctionPostHook {
    Hook(std::shared_ptr<Shared> shared, size_t index) : shared(std::move(shared)), slot(this->shared->slots[index]) {}
    torch::autograd::variable_list operator()(const torch::autograd::variable_list& outputs,
                                              const torch::autograd::variable_list&) override
    {
        shared->on_addition(slot);
        return outputs;
    }
    std::shared_ptr<Shared> shared;
    Slot& slot;
};

/// Keeps the AccumulateGrad node alive, which a parameter only refers to weakly.
struct ReadyTracker::Registration {
    decltype(torch::autograd::impl::grad_accumulator(std::declval<const at::Tensor&>())) node;
    std::uintptr_t key;
};

ReadyTracker::ReadyTracker(const Arena& arena, BucketTable& buckets, Listener& listener)
    : arena_(arena), shared_(std::make_shared<Shared>(arena, buckets, listener))
{
    const auto& parameters = arena.parameters();
    for (size_t index = 0; index < parameters.size(); ++index) {
        shared_->slots[index].grad = &parameters[index].tensor.mutable_grad();
        auto node = torch::autograd::impl::grad_accumulator(parameters[index].tensor);
        const auto key = node->add_post_hook(std::make_unique<Hook>(shared_, index));
        registrations_.push_back({std::move(node), key});
    }
}

ReadyTracker::~ReadyTracker()
{
    shared_->mode = Mode::Off;
    for (auto& [node, key] : registrations_)
        node->del_post_hook(key);
}

void ReadyTracker::follow_layout()
{
    for (size_t index = 0; index < shared_->slots.size(); ++index) {
        Slot& slot = shared_->slots[index];
        slot.gradient = arena_.gradient_view(index).unsafeGetTensorImpl();
        const auto& reach = shared_->buckets.reach(index);
        slot.first_bucket = static_cast<uint32_t>(reach.first);
        slot.last_bucket = static_cast<uint32_t>(reach.last);
    }
}

void ReadyTracker::begin(Mode mode)
{
    if (mode != Mode::Watch)
        for (auto& slot : shared_->slots)
            slot.seen.store(0, std::memory_order_relaxed);
    if (mode == Mode::Record) {
        shared_->stopwatch = make_stopwatch(shared_->device);
        shared_->stopwatch->note(0);
    }
    shared_->mode.store(mode, std::memory_order_release);
}

void ReadyTracker::end()
{
    if (shared_->mode.exchange(Mode::Off) != Mode::Count || !shared_->exceeded.exchange(false))
        return;
    for (auto& slot : shared_->slots)
        if (slot.expected > 0)
            slot.expected = std::max(slot.expected, slot.seen.load());
}

int64_t ReadyTracker::take_replaced()
{
    return shared_->replaced.exchange(-1);
}

std::vector<int> ReadyTracker::seen() const
{
    std::vector<int> counts;
    for (const auto& slot : shared_->slots)
        counts.push_back(slot.seen);
    return counts;
}

std::vector<size_t> ReadyTracker::order_of_completion() const
{
    std::vector<size_t> order;
    for (size_t index = 0; index < shared_->slots.size(); ++index)
        if (shared_->slots[index].seen > 0)
            order.push_back(index);
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return shared_->last[a] < shared_->last[b]; });
    return order;
}

std::vector<double> ReadyTracker::seconds_of_completion() const
{
    if (!shared_->stopwatch)
        return {};
    std::vector<double> result;
    for (size_t index = 0; index < shared_->last.size(); ++index)
        result.push_back(shared_->last[index] > 0 ? shared_->stopwatch->seconds(0, 1 + index) : 0.0);
    return result;
}

void ReadyTracker::expect(const std::vector<int>& counts)
{
    GRADWIND_ASSERT(counts.size() == shared_->slots.size());
    for (size_t index = 0; index < counts.size(); ++index)
        shared_->slots[index].expected = counts[index];
}

} // namespace gradwind::parallel::detail
