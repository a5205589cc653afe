// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What a step of the gradient engine costs the host besides the sums.
#include "bench/allocation_counter.h"
#include "bench/counting_backend.h"
#include "gradwind/parallel/device_progress.h"
#include "gradwind/parallel/gradient_engine.h"
#include "gradwind/parallel/repeated_sum.h"
#include "gradwind/parallel/watched_work.h"
#include "tests/support/ranks.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

namespace gradwind::parallel
{
namespace
{

int64_t allocations_in(const auto& work)
{
    const int64_t before = n_allocations;
    work();
    return n_allocations - before;
}

int64_t own_allocations_in(const auto& work)
{
    const int64_t before = n_allocations_of_own;
    work();
    return n_allocations_of_own - before;
}

at::Tensor loss_of(const std::vector<NamedParameter>& parameters)
{
    at::Tensor loss = at::zeros({});
    for (const auto& parameter : parameters)
        loss = loss + parameter.tensor.sum();
    return loss;
}

TEST(EngineCost, AStepAllocatesNothingOnceItIsWarm)
{
    std::vector<NamedParameter> parameters;
    for (int i = 0; i < 200; ++i)
        parameters.push_back({"p" + std::to_string(i), at::ones({16}).requires_grad_()});
    parameters.push_back({"large", at::ones({1 << 20}).requires_grad_()}); // what tensors do with care for small ones
    GradientEngine engine(parameters, Group::self(), {.bucket_cap_mb = 0.1, .first_bucket_mb = 0.01});
    ASSERT_GT(engine.bucket_ends().size(), 3u);
    std::vector<int64_t> own, of_hooks;
    for (int step = 0; step < 5; ++step) {
        const auto first = loss_of(parameters), second = loss_of(parameters), last = loss_of(parameters);
        // The same backward before the engine looks at gradients, while it only watches them, and while it counts them.
        const int64_t unwatched = allocations_in([&] { torch::autograd::backward({first}, {}); });
        int64_t count = allocations_in([&] {
            engine.begin_step();
            engine.begin_backward(Sync::Accumulate);
        });
        const int64_t watched = allocations_in([&] { torch::autograd::backward({second}, {}); });
        count += allocations_in([&] { engine.begin_backward(Sync::Reduce); });
        const int64_t counted = allocations_in([&] { torch::autograd::backward({last}, {}); });
        count += allocations_in([&] {
            engine.finish();
            (void)engine.gradient_pieces().size();
        });
        own.push_back(count);
        of_hooks.push_back(watched + counted - 2 * unwatched);
    }
    EXPECT_GT(own.front(), 0) << "the first step lays out; does the count work?";
    for (size_t step = 2; step < own.size(); ++step) {
        EXPECT_EQ(own[step], 0) << step;
        EXPECT_EQ(of_hooks[step], 0) << step;
    }
}

GRADWIND_MULTIRANK_TEST(EngineCost, AStepOfSeveralProcessesAllocatesInTheLibraryOnly, RankCounts{2, 3})
{
    const auto library = std::make_shared<bench::CountingBackend>(world.state()->backend);
    world.state()->backend = library;
    std::vector<NamedParameter> parameters;
    for (int i = 0; i < 100; ++i)
        parameters.push_back({"p" + std::to_string(i), at::ones({16}).requires_grad_()});
    GradientEngine engine(parameters, world, {.bucket_cap_mb = 0.005, .first_bucket_mb = 0.001});
    ASSERT_GT(engine.bucket_ends().size(), 3u);
    for (int step = 0; step < 6; ++step) {
        const auto first = loss_of(parameters), last = loss_of(parameters);
        const int64_t unwatched = own_allocations_in([&] { torch::autograd::backward({first}, {}); });
        const int64_t in_library = library->allocations();
        int64_t own = own_allocations_in([&] {
            engine.begin_step();
            engine.begin_backward(Sync::Reduce);
            torch::autograd::backward({last}, {});
            engine.finish();
            (void)engine.last_step();
        });
        own -= unwatched + library->allocations() - in_library;
        if (step >= 2) {
            EXPECT_EQ(own, 0) << step;
            EXPECT_GT(library->allocations(), in_library) << "does the count work?";
        }
    }
}

/// A device that is always where the host is.
class PromptSpan : public detail::DeviceSpan
{
public:
    void begin() override {}
    void mark(int32_t place) override { place_ = place; }
    void end() override {}
    [[nodiscard]] bool is_done() override { return true; }
    [[nodiscard]] int32_t reached() const override { return place_; }

private:
    int32_t place_ = -1;
};

GRADWIND_MULTIRANK_TEST(EngineCost, NotingCollectivesAllocatesNothingOnceItIsWarm, RankCounts{2, 3})
{
    const auto library = std::make_shared<bench::CountingBackend>(world.state()->backend);
    world.state()->backend = library;
    WatchedWork watched(std::make_unique<PromptSpan>(), std::chrono::minutes(1));
    std::vector<detail::RepeatedSum> sums;
    for (int i = 0; i < 20; ++i)
        sums.emplace_back(world, at::ones({16}));
    for (int step = 0; step < 4; ++step) {
        const int64_t in_library = library->allocations();
        int64_t own = own_allocations_in([&] {
            watched.begin();
            for (auto& sum : sums) {
                sum.start();
                sum.wait();
            }
            watched.wait();
        });
        own -= library->allocations() - in_library;
        if (step == 0)
            EXPECT_GT(own, 0) << "entries need space once; does the count work?";
        else
            EXPECT_EQ(own, 0) << step;
    }
}

} // namespace
} // namespace gradwind::parallel
