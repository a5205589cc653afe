// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/ready_tracker.h"

#include "gradwind/parallel/lane.h"

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <mutex>

namespace gradwind::parallel::detail
{

struct ReadyTracker::Shared {
    explicit Shared(const Arena& arena)
        : arena(arena), device(arena.parameters().front().tensor.device()), seen(arena.parameters().size()),
          last(seen.size()), expected(seen.size(), 0)
    {
    }

    const Arena& arena;
    const at::Device device;

    std::atomic<Mode> mode = Mode::Off;
    std::atomic<int64_t> replaced = -1;
    std::atomic<bool> exceeded = false;
    std::vector<std::atomic<int>> seen;
    std::vector<std::atomic<int64_t>> last; ///< value of the clock at the latest addition; only when recording
    std::atomic<int64_t> clock = 0;
    std::unique_ptr<Stopwatch> stopwatch; ///< mark 0: begin of the recording; 1 + index: an addition
    std::mutex stopwatch_mutex;
    std::vector<int> expected;
    std::function<void(size_t)> ready, late;

    void on_addition(size_t index)
    {
        const Mode now = mode.load(std::memory_order_acquire);
        if (now == Mode::Off)
            return;
        // Here, where autograd has just had them in its hands, rather than for all parameters once a step.
        if (!arena.has_gradient_view(index)) [[unlikely]]
            replaced.store(static_cast<int64_t>(index), std::memory_order_relaxed);
        if (now == Mode::Watch)
            return;
        const int count = seen[index].fetch_add(1, std::memory_order_relaxed) + 1;
        if (now == Mode::Record) {
            last[index] = clock.fetch_add(1) + 1;
            const std::lock_guard lock(stopwatch_mutex);
            stopwatch->note(1 + index);
        } else if (count == expected[index])
            ready(index);
        else if (count > expected[index] && expected[index] > 0) {
            exceeded.store(true, std::memory_order_relaxed);
            late(index);
        }
    }
};

/// Runs after AccumulateGrad has added to .grad.
struct ReadyTracker::Hook : torch::autograd::FunctionPostHook {
    Hook(std::shared_ptr<Shared> shared, size_t index) : shared(std::move(shared)), index(index) {}
    torch::autograd::variable_list operator()(const torch::autograd::variable_list& outputs,
                                              const torch::autograd::variable_list&) override
    {
        shared->on_addition(index);
        return outputs;
    }
    std::shared_ptr<Shared> shared;
    size_t index;
};

/// Keeps the AccumulateGrad node alive, which a parameter only refers to weakly.
struct ReadyTracker::Registration {
    decltype(torch::autograd::impl::grad_accumulator(std::declval<const at::Tensor&>())) node;
    std::uintptr_t key;
};

ReadyTracker::ReadyTracker(const Arena& arena, std::function<void(size_t)> ready, std::function<void(size_t)> late)
    : shared_(std::make_shared<Shared>(arena))
{
    const auto& parameters = arena.parameters();
    shared_->ready = std::move(ready);
    shared_->late = std::move(late);
    for (size_t index = 0; index < parameters.size(); ++index) {
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

void ReadyTracker::begin(Mode mode)
{
    if (mode != Mode::Watch)
        for (auto& count : shared_->seen)
            count.store(0, std::memory_order_relaxed);
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
    for (size_t index = 0; index < shared_->expected.size(); ++index)
        if (shared_->expected[index] > 0)
            shared_->expected[index] = std::max(shared_->expected[index], shared_->seen[index].load());
}

int64_t ReadyTracker::take_replaced()
{
    return shared_->replaced.exchange(-1);
}

std::vector<int> ReadyTracker::seen() const
{
    return {shared_->seen.begin(), shared_->seen.end()};
}

std::vector<size_t> ReadyTracker::order_of_completion() const
{
    std::vector<size_t> order;
    for (size_t index = 0; index < shared_->seen.size(); ++index)
        if (shared_->seen[index] > 0)
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

void ReadyTracker::expect(std::vector<int> counts)
{
    shared_->expected = std::move(counts);
}

} // namespace gradwind::parallel::detail
