// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The host's side of recorded work, and of work that is watched while it runs; that graphs of a GPU compute what they
// should is for tests/gpu.
#include "gradwind/parallel/recorded_work.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/collective_tape.h"
#include "gradwind/parallel/device_graph.h"
#include "gradwind/parallel/gradient_engine.h"
#include "gradwind/parallel/passing_backend.h"
#include "gradwind/parallel/watched_work.h"
#include "tests/support/ranks.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <future>
#include <thread>

namespace gradwind::parallel
{
namespace
{

using namespace std::chrono_literals;
using gradwind::testing::in_rank;
using gradwind::testing::rank_world;
using gradwind::testing::run_ranks;

/// Does what is recorded at once, as a CPU must, and then pretends.
class PretendedGraph : public detail::DeviceGraph
{
public:
    void record(const std::function<void()>& work) override { work(); }
    void mark(int32_t place) override { marks.push_back(place); }
    void start() override { ++starts; }
    [[nodiscard]] bool is_done() override { return done; }
    [[nodiscard]] int32_t reached() const override { return at; }

    std::vector<int32_t> marks;
    int starts = 0;
    bool done = true;
    int32_t at = -1;
};

/// What a test sees of a device that is watched, and tells it to pretend.
struct Span {
    std::vector<int32_t> marks;
    int begins = 0, ends = 0;
    bool done = true;
    int32_t at = -1;
};

class PretendedSpan : public detail::DeviceSpan
{
public:
    explicit PretendedSpan(Span& span) : span_(span) {}
    void begin() override
    {
        ++span_.begins;
        span_.marks.clear();
    }
    void mark(int32_t place) override { span_.marks.push_back(place); }
    void end() override { ++span_.ends; }
    [[nodiscard]] bool is_done() override { return span_.done; }
    [[nodiscard]] int32_t reached() const override { return span_.at; }

private:
    Span& span_;
};

std::string message_of(const std::function<void()>& work)
{
    try {
        work();
    } catch (const CommError& error) {
        return error.what();
    }
    return "nothing was thrown";
}

GRADWIND_MULTIRANK_TEST(RecordedWork, CountsCollectivesWheneverTheyAreStarted, RankCounts{1, 2, 3})
{
    const auto graph = std::make_shared<PretendedGraph>();
    RecordedWork work(graph, 1min);
    const auto alone = Group::self("alone");
    auto x = at::ones({6}, at::kFloat);
    work.record([&] {
        world.all_reduce_sum_(x);
        alone.all_reduce_sum_(x);
        (void)world.all_gather(x);
    });
    EXPECT_EQ(world.traffic().of(Verb::AllReduce).calls, 0);
    const bool wired = world.size() > 1;
    EXPECT_EQ(graph->marks, wired ? (std::vector<int32_t>{0, 2}) : std::vector<int32_t>{});
    for (int64_t start = 1; start <= 3; ++start) {
        work.start();
        work.wait();
        EXPECT_EQ(world.traffic().of(Verb::AllReduce).calls, start);
        EXPECT_EQ(world.traffic().of(Verb::AllReduce).bytes, wired ? start * 24 : 0);
        EXPECT_EQ(world.traffic().of(Verb::AllGather).bytes, wired ? start * 24 : 0);
        EXPECT_EQ(alone.traffic().of(Verb::AllReduce).calls, start);
    }
    EXPECT_EQ(graph->starts, 3);
    world.all_reduce_sum_(x); // not recorded: counted where it is called
    EXPECT_EQ(world.traffic().of(Verb::AllReduce).calls, 4);
}

TEST(RecordedWork, NamesWhereItHangs)
{
    if (in_rank()) {
        const Group world = rank_world();
        const auto graph = std::make_shared<PretendedGraph>();
        RecordedWork work(graph, 50ms);
        auto x = at::ones({6}, at::kFloat);
        work.record([&] {
            world.all_reduce_sum_(x);
            (void)world.all_gather(x);
            world.all_reduce_sum_(x);
        });
        world.set_step(7);
        graph->done = false;
        graph->at = 1;
        work.start();
        std::puts(message_of([&] { work.wait(); }).c_str());
        std::puts(message_of([&] { world.all_reduce_sum_(x); }).c_str());
        return;
    }
    for (const auto& result : run_ranks(2)) {
        EXPECT_NE(
            result.output.find("all_gather in group world (ranks 0,1) failed at step 7: not done 0.05 s after the "
                               "step was started; of the 3 collectives of the recorded step it is number 2"),
            std::string::npos)
            << result.output;
        EXPECT_NE(result.output.find("all_reduce in group world refused"), std::string::npos) << result.output;
    }
}

TEST(RecordedWork, HearsThatAnotherRankHasFailed)
{
    if (in_rank()) {
        const Group world = rank_world();
        const auto graph = std::make_shared<PretendedGraph>();
        RecordedWork work(graph, 1min);
        auto x = at::ones({6}, at::kFloat);
        const auto alone = Group::self("alone");
        work.record([&] {
            alone.all_reduce_sum_(x); // hears nothing
            world.all_reduce_sum_(x);
        });
        graph->done = false;
        graph->at = 1;
        work.start();
        if (world.rank() == 1)
            world.fail("file of 1979 is damaged");
        else
            std::puts(message_of([&] { work.wait(); }).c_str());
        std::this_thread::sleep_for(world.rank() == 1 ? 3s : 0s); // the store is rank 0's
        return;
    }
    const auto results = run_ranks(2);
    EXPECT_NE(results[0].output.find("another rank will not come"), std::string::npos) << results[0].output;
    EXPECT_NE(results[0].output.find("file of 1979 is damaged"), std::string::npos) << results[0].output;
    EXPECT_LT(results[0].seconds, 30);
}

TEST(RecordedWork, NeedsAGpu)
{
    EXPECT_THROW(RecordedWork(at::Device(at::kCPU), 1s), ConfigError);
}

TEST(RecordedWork, LeavesNothingBehindWhereRecordingFails)
{
    RecordedWork work(std::make_shared<PretendedGraph>(), 1s);
    EXPECT_THROW(work.record([] { throw DataError("no"); }), DataError);
    EXPECT_EQ(detail::CollectiveTape::current(), nullptr);
}

GRADWIND_MULTIRANK_TEST(WatchedWork, SendsAndCountsCollectivesOnce, RankCounts{1, 2, 3})
{
    Span span;
    WatchedWork watched(std::make_unique<PretendedSpan>(span), 1min);
    watched.wait(); // nothing was begun
    EXPECT_EQ(span.ends, 0);
    const auto alone = Group::self("alone");
    const auto one = at::ones({6}, at::kFloat);
    const bool wired = world.size() > 1;
    for (int64_t step = 1; step <= 3; ++step) {
        watched.begin();
        EXPECT_FALSE(detail::CollectiveTape::is_recording());
        const auto sum = world.all_reduce_sum(one);
        alone.all_reduce_sum_(sum);
        EXPECT_EQ(world.all_gather(one).size(0), 6 * world.size());
        EXPECT_EQ(sum.sum().item<double>(), 6.0 * world.size());
        watched.wait();
        EXPECT_EQ(span.marks, wired ? (std::vector<int32_t>{0, 1}) : std::vector<int32_t>{});
        EXPECT_EQ(world.traffic().of(Verb::AllReduce).calls, 2 * step - 1);
        EXPECT_EQ(world.traffic().of(Verb::AllGather).calls, step);
        EXPECT_EQ(world.traffic().of(Verb::AllGather).bytes, wired ? step * 24 : 0);
        EXPECT_EQ(alone.traffic().of(Verb::AllReduce).calls, step);
        // What comes after is counted, and none of the watch's business.
        (void)world.all_reduce_sum(one);
        EXPECT_EQ(span.marks.size(), wired ? 2u : 0u);
        EXPECT_EQ(world.traffic().of(Verb::AllReduce).calls, 2 * step);
        watched.wait();
    }
    EXPECT_EQ(span.begins, 3);
    EXPECT_EQ(span.ends, 3);
    EXPECT_EQ(world.traffic().of(Verb::AllReduce).bytes, wired ? 6 * 24 : 0);
}

TEST(WatchedWork, NamesWhereItHangs)
{
    if (in_rank()) {
        const Group world = rank_world();
        Span span;
        WatchedWork watched(std::make_unique<PretendedSpan>(span), 50ms);
        auto x = at::ones({6}, at::kFloat);
        world.set_step(7);
        watched.begin();
        world.all_reduce_sum_(x);
        watched.wait();
        watched.begin();
        world.all_reduce_sum_(x);
        Group::self("alone").all_reduce_sum_(x);
        (void)world.all_gather(x);
        std::this_thread::sleep_for(100ms); // the time in which the host queues does not count
        span.done = false;
        span.at = 1;
        const auto before = std::chrono::steady_clock::now();
        std::puts(message_of([&] { watched.wait(); }).c_str());
        EXPECT_GE(std::chrono::steady_clock::now() - before, 50ms);
        std::puts(message_of([&] { world.all_reduce_sum_(x); }).c_str());
        return;
    }
    for (const auto& result : run_ranks(2)) {
        EXPECT_EQ(result.exit_code, 0) << result.output;
        EXPECT_NE(result.output.find("all_gather in group world (ranks 0,1) failed at step 7: not done 0.05 s after "
                                     "the step was queued; of the 2 collectives of the step it is number 2"),
                  std::string::npos)
            << result.output;
        EXPECT_NE(result.output.find("all_reduce in group world refused"), std::string::npos) << result.output;
    }
}

TEST(WatchedWork, HearsThatAnotherRankHasFailed)
{
    if (in_rank()) {
        const Group world = rank_world();
        Span span{.marks = {}, .begins = 0, .ends = 0, .done = false, .at = 0};
        WatchedWork watched(std::make_unique<PretendedSpan>(span), 1min);
        auto x = at::ones({6}, at::kFloat);
        watched.begin();
        world.all_reduce_sum_(x);
        if (world.rank() == 1)
            world.fail("file of 1979 is damaged");
        else
            std::puts(message_of([&] { watched.wait(); }).c_str());
        std::this_thread::sleep_for(world.rank() == 1 ? 3s : 0s); // the store is rank 0's
        return;
    }
    const auto results = run_ranks(2);
    EXPECT_NE(results[0].output.find("another rank will not come"), std::string::npos) << results[0].output;
    EXPECT_NE(results[0].output.find("file of 1979 is damaged"), std::string::npos) << results[0].output;
    EXPECT_LT(results[0].seconds, 30);
}

/// Tells when it is given up.
class Released : public detail::PassingBackend
{
public:
    using PassingBackend::PassingBackend;
    void give_up() noexcept override { released.set_value(); }
    std::promise<void> released;
};

TEST(WatchedWork, LetsAHostGoThatDoesNotComeToItsWait)
{
    if (in_rank()) {
        const Group world = rank_world();
        const auto backend = std::make_shared<Released>(world.state()->backend);
        world.state()->health->add(backend);
        Span span;
        span.at = 0;
        WatchedWork watched(std::make_unique<PretendedSpan>(span), 300ms);
        auto x = at::ones({6}, at::kFloat);
        world.set_step(7);
        watched.begin();
        world.all_reduce_sum_(x);
        auto released = backend->released.get_future();
        EXPECT_EQ(released.wait_for(1s), std::future_status::timeout); // it has come to all that there is
        (void)world.all_gather(x);
        EXPECT_EQ(released.wait_for(20s), std::future_status::ready); // as a call of the device would come back
        std::puts(message_of([&] { world.barrier(); }).c_str());
        return;
    }
    for (const auto& result : run_ranks(2)) {
        EXPECT_EQ(result.exit_code, 0) << result.output;
        EXPECT_NE(result.output.find("barrier in group world refused"), std::string::npos) << result.output;
        EXPECT_NE(result.output.find("all_reduce in group world (ranks 0,1) failed at step 7: not done 0.3 s after the "
                                     "GPU had come to it; of the collectives of the step it is number 1"),
                  std::string::npos)
            << result.output;
    }
}

/// As if tensors were on a GPU.
class WithAGpu : public detail::PassingBackend
{
public:
    using PassingBackend::PassingBackend;
    [[nodiscard]] at::Device device() const override { return {at::kCUDA, 0}; }
};

TEST(LastResort, IsTakenWhereAGpuMayHoldUpTheEnd)
{
    if (in_rank()) {
        const Group world = rank_world();
        std::promise<std::string> reason;
        set_last_resort([&](const std::string& text) { reason.set_value(text); });
        const auto backend = std::make_shared<WithAGpu>(world.state()->backend);
        if (world.rank() == 0)
            world.state()->health->add(backend);
        world.fail("a file is damaged");
        auto taken = reason.get_future();
        if (world.rank() == 0) {
            ASSERT_EQ(taken.wait_for(20s), std::future_status::ready);
            EXPECT_NE(taken.get().find("a file is damaged"), std::string::npos);
        } else {
            EXPECT_EQ(taken.wait_for(5s), std::future_status::timeout);
        }
        set_last_resort(nullptr);
        return;
    }
    for (const auto& result : run_ranks(2))
        EXPECT_EQ(result.exit_code, 0) << result.output;
}

TEST(WatchedWork, NeedsAGpu)
{
    EXPECT_THROW(WatchedWork(at::Device(at::kCPU), 1s), ConfigError);
}

TEST(WatchedWork, IsGivenUpWithAStepThatFails)
{
    Span span;
    {
        WatchedWork watched(std::make_unique<PretendedSpan>(span), 1s);
        watched.begin();
        EXPECT_NE(detail::CollectiveTape::current(), nullptr);
        watched.begin(); // after an error that was dealt with
        EXPECT_EQ(span.ends, 0);
        span.done = false; // it leaves all the same
    }
    EXPECT_EQ(detail::CollectiveTape::current(), nullptr);
}

/// The host is there when the step runs, so it times buckets as ever.
TEST(WatchedWork, LeavesTheReportOfAStepAsItIs)
{
    Span span;
    WatchedWork watched(std::make_unique<PretendedSpan>(span), 1s);
    const auto weight = at::ones({8, 8}).set_requires_grad(true);
    GradientEngine engine({{"weight", weight}}, Group::self());
    for (int step = 0; step < 2; ++step) {
        watched.begin();
        engine.begin_step();
        const auto loss = weight.square().sum();
        engine.begin_backward(Sync::Reduce);
        loss.backward();
        engine.finish();
        watched.wait();
    }
    EXPECT_GT(engine.last_step().buckets.at(0).ready, 0);
}

/// One parameter that two layers share, so that the order of gradients has something to learn.
GRADWIND_MULTIRANK_TEST(RecordedWork, EngineSaysWhichStepsAreOfOneKind, RankCounts{1, 2})
{
    std::vector<NamedParameter> parameters;
    for (int i = 0; i < 3; ++i)
        parameters.push_back({fmt::format("weight{}", i), at::ones({8, 8}).set_requires_grad(true)});
    EngineOptions options;
    options.compression = {.kind = Compression::Acp, .rank = 1, .start_step = 3, .min_ratio = 1};
    GradientEngine engine(parameters, world, options);
    std::vector<std::optional<int64_t>> kinds;
    const auto step = [&] {
        kinds.push_back(engine.kind_of_next_step());
        engine.begin_step();
        at::Tensor loss = at::zeros({});
        for (const auto& parameter : parameters)
            loss = loss + parameter.tensor.square().sum();
        engine.begin_backward(Sync::Reduce);
        loss.backward();
        engine.finish();
    };
    for (int i = 0; i < 8; ++i)
        step();
    EXPECT_FALSE(kinds[0]); // learns the order
    EXPECT_TRUE(kinds[1]);
    EXPECT_EQ(kinds[1], kinds[2]);
    EXPECT_FALSE(kinds[3]); // begins to compress
    EXPECT_NE(kinds[4], kinds[5]);
    EXPECT_EQ(kinds[4], kinds[6]);
    EXPECT_EQ(*kinds[4] / 2, *kinds[5] / 2);
    engine.repeat_step(); // the eighth again
    EXPECT_EQ(engine.reduced_steps(), 9);
    EXPECT_EQ(engine.kind_of_next_step(), kinds[5]);
    const auto before = engine.kind_of_next_step();
    engine.replan({engine.flat_gradients().numel()});
    EXPECT_NE(engine.kind_of_next_step(), before);
    engine.watch_next_step();
    EXPECT_FALSE(engine.kind_of_next_step());
    engine.expect_new_graph();
    step();
    EXPECT_FALSE(kinds.back());
}

} // namespace
} // namespace gradwind::parallel
