// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What a run counts of its communication is what was predicted before it.
#include "gradwind/core/config_loader.h"
#include "gradwind/train/comm_account.h"
#include "gradwind/train/step_traffic.h"
#include "tests/support/ranks.h"
#include "tests/train/tiny_training.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace gradwind::train
{
namespace
{

TEST(CommAccount, PredictedGradientBytesAreTheCountedOnes)
{
    const TinyTraining training;
    if (testing::in_rank())
        run_child(training);
    // Buckets of about 4 kB, so that there are several.
    const std::vector<std::string> overrides = {"training.max_steps=6", "training.strategy.bucket_cap_mb=0.004",
                                                "training.strategy.first_bucket_mb=0.001"};
    auto all = overrides;
    all.push_back("system.input.dataset=" + training.run_dir("tiny.zarr").string());
    const auto predicted = predict_step_traffic(load_config({.file = training.config_file(), .overrides = all}));
    EXPECT_GT(predicted.gradient_calls, 3);
    EXPECT_GT(predicted.gradient_bytes, 4 * predicted.parameters);
    for (const int n_processes : {1, 2}) {
        const auto name = std::to_string(n_processes) + "-processes";
        start({.name = name, .overrides = overrides, .n_processes = n_processes});
        const auto rows = rows_of(training.run_dir(name), "train");
        ASSERT_EQ(rows.size(), 6u);
        for (const auto& row : rows) {
            if (n_processes == 1) {
                for (const auto& [key, value] : row.items())
                    EXPECT_FALSE(key.starts_with("comm/")) << key;
                continue;
            }
            EXPECT_EQ(row.value("comm/world/all_reduce_bytes", 0.0), double(predicted.gradient_bytes));
            EXPECT_EQ(row.value("comm/world/all_reduce_calls", 0.0), double(predicted.gradient_calls));
        }
    }
}

/// A network and how a model group shares it.
struct SharedNetwork {
    std::string name;
    std::vector<std::string> overrides;
};

std::vector<std::string> of_all_parts(const std::string& setting, std::vector<std::string> others = {})
{
    for (const char* part : {"processor", "encoders.0.mapper", "decoders.0.mapper"})
        others.push_back(std::string("model.") + part + "." + setting);
    return others;
}

std::vector<SharedNetwork> shared_networks()
{
    const auto graph_transformer = of_all_parts("num_heads=4", {"model=graphtransformer"});
    auto transformer =
        of_all_parts("num_heads=4", {"model=transformer", "model.processor.window_size=9",
                                     "model.encoders.0.mapper.num_chunks=1", "model.decoders.0.mapper.num_chunks=1"});
    auto rollout = of_all_parts("mlp_implementation=swiglu");
    rollout.push_back("task.rollout={start: 2, epoch_increment: 0, maximum: 2}");
    return {{"gnn", {}},
            {"gnn-recomputed-rollout", rollout},
            {"graphtransformer", graph_transformer},
            {"graphtransformer-heads", of_all_parts("shard_strategy=heads", graph_transformer)},
            {"graphtransformer-heads-recomputed",
             of_all_parts("mlp_implementation=swiglu", of_all_parts("shard_strategy=heads", graph_transformer))},
            {"transformer", transformer},
            {"transformer-heads", of_all_parts("shard_strategy=heads", transformer)}};
}

TEST(CommAccount, PredictedBytesOfASharedModelAreTheCountedOnes)
{
    const TinyTraining training;
    if (testing::in_rank())
        run_child(training);
    for (const auto& network : shared_networks())
        for (const char* partition : {"contiguous", "bisection"}) {
            SCOPED_TRACE(network.name + ", " + partition);
            auto all = network.overrides;
            for (const char* text :
                 {"training.max_steps=1", "dataloader.batch_size.training=3", "training.accum_grad_batches=2",
                  "training.precision=64-true", "system.hardware.num_gpus_per_model=3"})
                all.emplace_back(text);
            all.push_back(std::string("training.strategy.partition=") + partition);
            start({.name = network.name + "-" + partition, .overrides = all, .n_processes = 3});
            all.push_back("system.input.dataset=" + training.run_dir("tiny.zarr").string());
            const auto predicted =
                predict_step_traffic(load_config({.file = training.config_file(), .overrides = all}), 3);
            const auto rows = rows_of(training.run_dir(network.name + "-" + partition), "train");
            ASSERT_EQ(rows.size(), 1u);
            ASSERT_EQ(predicted.groups.size(), 2u);
            for (const auto& group : predicted.groups)
                if (group.is_chosen) {
                    EXPECT_EQ(group.refusal, "");
                    EXPECT_GT(group.bytes_per_sample(0, 8), 0);
                    EXPECT_EQ(rows[0].value("comm/model/all_to_all_bytes", 0.0),
                              double(6 * predicted.passes * group.bytes_per_sample(0, predicted.element_bytes)));
                }
        }
}

GRADWIND_MULTIRANK_TEST(CommAccount, StepsAndTheRestAreToldApart, RankCounts{2})
{
    const parallel::Layout layout({.gpus_per_node = 2});
    const auto groups = parallel::make_groups(layout, world);
    CommAccount account(groups);
    const auto x = at::ones({10}, at::kDouble);
    const auto before = account.totals();
    world.all_reduce_sum_(x); // outside of any step
    for (int step = 0; step < 3; ++step) {
        account.begin_step();
        world.all_reduce_sum_(x);
        world.all_reduce_sum_(x);
        account.end_step();
        world.barrier();
        if (step == 0) {
            const auto means = account.take_means();
            ASSERT_EQ(means.size(), 2u) << "barriers happened outside of steps only";
            EXPECT_EQ(means[0], std::pair(std::string("comm/world/all_reduce_calls"), 2.0));
            EXPECT_EQ(means[1], std::pair(std::string("comm/world/all_reduce_bytes"), 160.0));
        }
    }
    EXPECT_EQ(account.take_means().at(1).second, 160.0) << "a mean over two steps";
    const auto totals = account.totals();
    EXPECT_EQ(totals.steps, 3);
    for (const auto& row : totals.rows) {
        EXPECT_EQ(row.group, "world");
        const auto earlier =
            std::find_if(before.rows.begin(), before.rows.end(), [&](const auto& r) { return r.verb == row.verb; });
        const auto other = row.other_calls - (earlier == before.rows.end() ? 0 : earlier->other_calls);
        if (row.verb == parallel::Verb::AllReduce) {
            EXPECT_EQ(row.step_calls, 6);
            EXPECT_EQ(row.step_bytes, 480);
            EXPECT_EQ(other, 1);
        } else {
            EXPECT_EQ(row.step_calls, 0);
            EXPECT_EQ(other, row.verb == parallel::Verb::Barrier ? 3 : 0);
        }
    }
}

} // namespace
} // namespace gradwind::train
