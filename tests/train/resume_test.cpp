// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// A run that was stopped and goes on ends with the weights of one that never stopped.
#include "gradwind/core/error.h"
#include "tests/support/ranks.h"
#include "tests/train/tiny_training.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>

namespace gradwind::train
{
namespace
{

constexpr int kKilled = 128 + SIGKILL;

/// Reads what the parent wants from the environment, for a body that both run.
int64_t stop_step()
{
    const char* text = std::getenv("GRADWIND_TEST_STOP");
    return text ? std::atoll(text) : -1;
}

/// Ranks ask each other about signals twice a second: a run that is to be stopped must not be over by then.
void take_time()
{
    if (stop_step() >= 0)
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
}

void expect_equal_runs(const TinyTraining& training, const std::string& stopped, const std::string& whole)
{
    const auto a = weights_of(training.run_dir(stopped)), b = weights_of(training.run_dir(whole));
    ASSERT_EQ(a.size(), b.size());
    for (const auto& [name, tensor] : a)
        EXPECT_TRUE(at::equal(tensor, b.at(name))) << name;
    const auto rows = rows_of(training.run_dir(stopped), "train"), expected = rows_of(training.run_dir(whole), "train");
    ASSERT_EQ(rows.size(), expected.size()) << "every step is logged once";
    for (size_t i = 0; i < rows.size(); ++i) {
        EXPECT_EQ(rows[i]["step"], expected[i]["step"]);
        EXPECT_EQ(rows[i]["train_multi_dataset_loss_step"], expected[i]["train_multi_dataset_loss_step"]) << i;
    }
    EXPECT_EQ(rows_of(training.run_dir(stopped), "validation").size(),
              rows_of(training.run_dir(whole), "validation").size());
}

/// Stops a run at each of some steps, in a way and with an exit code, lets it go on, and compares.
void stop_and_resume(const std::vector<int64_t>& stops, int n_processes, int exit_code, const AtStep& stop_now,
                     const std::vector<std::string>& overrides, const std::string& config = "tiny")
{
    const TinyTraining training;
    if (testing::in_rank())
        run_child(training, [&](int64_t step) {
            if (n_processes > 1)
                take_time();
            if (step == stop_step())
                stop_now(step);
        });
    start({.name = "whole", .overrides = overrides, .n_processes = n_processes, .config = config});
    for (const auto stop : stops) {
        SCOPED_TRACE("stopped at step " + std::to_string(stop));
        const auto name = "stopped" + std::to_string(stop);
        ::setenv("GRADWIND_TEST_STOP", std::to_string(stop).c_str(), 1);
        start({.name = name,
               .overrides = overrides,
               .n_processes = n_processes,
               .expected_exit = exit_code,
               .config = config});
        ::unsetenv("GRADWIND_TEST_STOP");
        start({.name = name, .overrides = overrides, .resume = true, .n_processes = n_processes, .config = config});
        if (::testing::Test::HasFailure())
            return;
        expect_equal_runs(training, name, "whole");
    }
}

const std::vector<std::string> kEveryThreeSteps = {
    "diagnostics.checkpoint.every_n_train_steps={save_frequency: 3, num_models_saved: 2}"};

TEST(Resume, AfterSigtermInMidEpochAndAtItsEnd)
{
    stop_and_resume({2, 4, 7}, 1, int(ExitCode::Interrupted), [](int64_t) { ::raise(SIGTERM); }, {});
}

TEST(Resume, AfterSigtermAtTheLastStepOfAll)
{
    // The validation of its epoch is still to do, and done once only however often it is resumed.
    stop_and_resume({8}, 1, int(ExitCode::Interrupted), [](int64_t) { ::raise(SIGTERM); }, {"training.max_steps=8"});
}

TEST(Resume, AfterSigkillFromTheNewestCheckpoint)
{
    stop_and_resume(
        {5, 14}, 1, kKilled, [](int64_t) { ::raise(SIGKILL); }, kEveryThreeSteps);
}

TEST(Resume, WithAGrowingRolloutAndAccumulation)
{
    stop_and_resume({6, 9}, 1, int(ExitCode::Interrupted), [](int64_t) { ::raise(SIGUSR1); },
                    {"task.rollout={start: 1, epoch_increment: 1, maximum: 3}", "dataloader.batch_size.training=4",
                     "training.accum_grad_batches=3"});
}

TEST(Resume, WithSeveralDataSets)
{
    stop_and_resume(
        {4}, 1, int(ExitCode::Interrupted), [](int64_t) { ::raise(SIGTERM); }, {}, "tiny_two");
    stop_and_resume(
        {5}, 2, int(ExitCode::Interrupted), [](int64_t) { ::raise(SIGTERM); }, {"dataloader.batch_size.training=6"},
        "tiny_two");
    stop_and_resume(
        {5}, 2, int(ExitCode::Interrupted), [](int64_t) { ::raise(SIGTERM); },
        {"system.hardware.num_gpus_per_model=2", "training.strategy.partition=bisection"}, "tiny_two");
}

TEST(Resume, OnThreeProcessesOfWhichOneGotTheSignal)
{
    // Only rank 0 has a progress sink, so only rank 0 is told; all stop at a step that they agree on.
    stop_and_resume({3}, 3, int(ExitCode::Interrupted), [](int64_t) { ::raise(SIGTERM); },
                    {"dataloader.batch_size.training=4"});
}

TEST(Resume, WithCompressedGradientsWhoseErrorsGoOn)
{
    // Stopped before a P step and before a Q step; every rank has an error of its own.
    stop_and_resume({5, 6}, 2, int(ExitCode::Interrupted), [](int64_t) { ::raise(SIGTERM); },
                    {"dataloader.batch_size.training=6",
                     "training.strategy.gradient_compression={kind: acp, rank: 2, start_step: 2, min_ratio: 1}"});
}

TEST(Resume, AfterAFullDisk)
{
    const auto fill_disk = [](int64_t) {
        // No file may grow beyond a size between that of the log and that of the weights.
        ::signal(SIGXFSZ, SIG_IGN);
        const rlimit limit{30000, 30000};
        ::setrlimit(RLIMIT_FSIZE, &limit);
    };
    stop_and_resume({7}, 1, int(ExitCode::Checkpoint), fill_disk, kEveryThreeSteps);
}

TEST(Resume, OnAnotherNumberOfProcessesUpToRounding)
{
    const TinyTraining training;
    if (testing::in_rank())
        run_child(training, [](int64_t step) {
            if (step == stop_step())
                ::raise(SIGTERM);
        });
    const std::vector<std::string> scaled = {"training.optimization.lr_scaling=anemoi", "training.precision=64-true"};
    start({.name = "whole", .overrides = scaled});
    ::setenv("GRADWIND_TEST_STOP", "6", 1);
    start({.name = "moved", .overrides = scaled, .expected_exit = int(ExitCode::Interrupted)});
    ::unsetenv("GRADWIND_TEST_STOP");
    start({.name = "moved", .overrides = scaled, .resume = true, .n_processes = 2});
    if (::testing::Test::HasFailure())
        return;
    EXPECT_LT(relative_difference(weights_of(training.run_dir("moved")), weights_of(training.run_dir("whole"))), 1e-12);
}

/// Stops after six and after twelve steps and goes on with other numbers of processes; the end is that of one process.
void move_between_process_counts(const std::vector<std::string>& overrides, const std::vector<int>& counts,
                                 const std::vector<std::vector<std::string>>& of_count, double tolerance)
{
    const TinyTraining training;
    if (testing::in_rank())
        run_child(training, [](int64_t step) {
            take_time();
            if (step == stop_step())
                ::raise(SIGTERM);
        });
    auto all = overrides;
    all.push_back("training.precision=64-true");
    start({.name = "whole", .overrides = all});
    for (size_t i = 0; i < counts.size(); ++i) {
        const bool last = i + 1 == counts.size();
        ::setenv("GRADWIND_TEST_STOP", std::to_string(last ? -1 : 6 * int64_t(i + 1)).c_str(), 1);
        auto own = all;
        own.insert(own.end(), of_count[i].begin(), of_count[i].end());
        own.push_back("dataloader.batch_size.training=" + std::to_string(12 / counts[i]));
        start({.name = "moved",
               .overrides = own,
               .resume = i > 0,
               .n_processes = counts[i],
               .expected_exit = last ? 0 : int(ExitCode::Interrupted)});
        ::unsetenv("GRADWIND_TEST_STOP");
        if (::testing::Test::HasFailure())
            return;
    }
    EXPECT_LT(relative_difference(weights_of(training.run_dir("moved")), weights_of(training.run_dir("whole"))),
              tolerance);
}

TEST(Resume, WithCompressedGradientsOnAnotherNumberOfProcesses)
{
    // What ranks kept is shared out: nothing of it is lost, so the run is the one that never stopped.
    move_between_process_counts(
        {"training.strategy.gradient_compression={kind: acp, rank: 2, start_step: 2, min_ratio: 1}"}, {2, 3, 1},
        {{}, {}, {}}, 1e-7);
}

TEST(Resume, WithTheOptimisersStateSharedOtherwise)
{
    const std::string key = "training.strategy.zero_group_size=";
    move_between_process_counts({"training.strategy.bucket_cap_mb=0.003"}, {2, 3, 4, 1},
                                {{key + "2"}, {key + "3"}, {key + "2"}, {}}, 1e-12);
}

TEST(Resume, WithAnotherModelIsRefused)
{
    const TinyTraining training;
    if (testing::in_rank())
        run_child(training);
    start({.name = "run", .overrides = {"training.max_steps=2"}});
    start({.name = "run",
           .overrides = {"training.max_steps=4", "model.num_channels=16"},
           .resume = true,
           .expected_exit = int(ExitCode::Checkpoint)});
}

TEST(Resume, ANewRunDoesNotOverwriteAnOldOne)
{
    const TinyTraining training;
    if (testing::in_rank())
        run_child(training);
    start({.name = "run", .overrides = {"training.max_steps=2"}});
    start({.name = "run", .overrides = {"training.max_steps=2"}, .expected_exit = int(ExitCode::Config)});
}

} // namespace
} // namespace gradwind::train
