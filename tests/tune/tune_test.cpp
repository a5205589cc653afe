// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/tune/tune.h"

#include "gradwind/core/config_loader.h"
#include "gradwind/train/trainer.h"
#include "tests/support/ranks.h"
#include "tests/train/tiny_training.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

namespace gradwind::tune
{
namespace
{

std::vector<std::string> overrides_of(const train::TinyTraining& training)
{
    return {"system.input.dataset=" + training.run_dir("tiny.zarr").string(), "dataloader.batch_size.training=6"};
}

void check_report(const TuneReport& report)
{
    ASSERT_EQ(report.learnt.world, 2);
    EXPECT_GT(report.learnt.fp32.link.bytes_per_s, 1e6);
    EXPECT_GT(report.learnt.bf16_link.bytes_per_s, 1e5);
    EXPECT_GT(report.learnt.fp32.backward_s, 0);
    EXPECT_GT(report.learnt.compute_s, report.learnt.fp32.backward_s);
    EXPECT_LE(report.learnt.contention, 2);
    ASSERT_GE(report.trials.size(), 4u); // plans that come out equal run once
    int64_t least_wire = report.learnt.gradient_bytes, fewest = report.trials[0].steps, most = fewest, steps = 0;
    for (const auto& trial : report.trials) {
        EXPECT_GT(trial.seconds, 0) << trial.name;
        EXPECT_GT(trial.buckets, 0u) << trial.name;
        least_wire = std::min(least_wire, trial.wire_bytes);
        fewest = std::min(fewest, trial.steps);
        most = std::max(most, trial.steps);
        steps += trial.steps;
    }
    EXPECT_LT(2 * least_wire, report.learnt.gradient_bytes + 1) << "bf16 or compression has to show";
    EXPECT_GT(most, fewest) << "who is fast runs on";
    EXPECT_LE(steps, 200) << "asked for 60";
    EXPECT_GE(report.verdict.size(), 3u);
}

std::filesystem::path plan_file(const train::TinyTraining& training, Accuracy accuracy)
{
    return training.run_dir("plan" + std::to_string(int(accuracy)) + ".yaml");
}

/// On every rank: races with few steps, and leaves plans that may come of it.
void tune_in_rank(const train::TinyTraining& training)
{
    train::NoProgress nobody;
    const auto environment = parallel::resolve_environment(parallel::process_variables());
    auto report = tune(load_config({.file = training.config_file(), .overrides = overrides_of(training)}), environment,
                       {.steps = 60, .accuracy = Accuracy::Any, .rank = 2}, nobody);
    check_report(report);
    if (environment.rank != 0)
        return;
    for (report.winner = 0; report.winner < report.trials.size(); ++report.winner) // the last one of each kind stays
        std::ofstream(plan_file(training, report.trials[report.winner].accuracy)) << plan_of(report);
}

TEST(Tune, PlansOfEveryKindTrain)
{
    const train::TinyTraining training;
    if (testing::in_rank()) {
        if (std::getenv("GRADWIND_TEST_RUN"))
            train::run_child(training);
        tune_in_rank(training);
        return;
    }
    for (const auto& result : testing::run_ranks(2, {.watchdog_seconds = 300, .timeout_seconds = 120}))
        EXPECT_EQ(result.exit_code, 0) << result.output;
    for (const auto accuracy : {Accuracy::Exact, Accuracy::Rounded, Accuracy::Any})
        train::start({.name = "planned" + std::to_string(int(accuracy)),
                      .overrides = {"dataloader.batch_size.training=6", "training.max_steps=2",
                                    "training.strategy.plan=" + plan_file(training, accuracy).string()},
                      .n_processes = 2});
}

TEST(Tune, OneProcessHasNothingToChoose)
{
    const train::TinyTraining training;
    auto overrides = overrides_of(training);
    overrides.emplace_back("dataloader.batch_size.training=12");
    train::NoProgress nobody;
    const auto report = tune(load_config({.file = training.config_file(), .overrides = overrides}),
                             parallel::resolve_environment({}), {.steps = 20}, nobody);
    EXPECT_TRUE(report.trials[report.winner].name.starts_with("default"));
    ASSERT_EQ(report.verdict.size(), 1u);
    EXPECT_TRUE(report.link_points.empty());
}

} // namespace
} // namespace gradwind::tune
