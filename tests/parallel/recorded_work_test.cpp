// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The host's side of recorded work; that graphs of a GPU compute what they should is for tests/gpu.
#include "gradwind/parallel/recorded_work.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/collective_tape.h"
#include "gradwind/parallel/device_graph.h"
#include "gradwind/parallel/gradient_engine.h"
#include "tests/support/ranks.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdio>
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
        work.record([&] { world.all_reduce_sum_(x); });
        graph->done = false;
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
