// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// One of four processes is killed, stopped, hangs or throws: the others end in time and say where they were.
#include "gradwind/core/config_loader.h"
#include "gradwind/core/error.h"
#include "gradwind/parallel/launch.h"
#include "gradwind/train/checkpoint.h"
#include "gradwind/train/step_hooks.h"
#include "tests/train/tiny_training.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>
#include <thread>

namespace gradwind::train
{
namespace
{

namespace fs = std::filesystem;

constexpr const char* kFailure = "GRADWIND_TEST_FAILURE";
constexpr int kRanks = 4, kCulprit = 2;
constexpr int64_t kStep = 3;
constexpr double kTimeout = 5, kGrace = 10, kSlack = 30; ///< seconds; the last for starting on a loaded machine

class Failure : public StepHooks
{
public:
    explicit Failure(std::string kind, int rank) : kind_(std::move(kind)), rank_(rank) {}
    void summed(parallel::GradientEngine&) override { ++step_; }
    void chosen(StepSamples&) override
    {
        if (rank_ != kCulprit || step_ != kStep)
            return;
        if (kind_ == "kill")
            ::raise(SIGKILL);
        else if (kind_ == "stop")
            ::raise(SIGSTOP);
        else if (kind_ == "hang")
            std::this_thread::sleep_for(std::chrono::hours(1));
        else
            throw DataError("file of 1979 is damaged");
    }

private:
    std::string kind_;
    int rank_;
    int64_t step_ = 0;
};

[[noreturn]] void train_and_fail(const TinyTraining& training)
{
    const std::string kind = std::getenv(kFailure);
    const auto environment = parallel::resolve_environment(parallel::process_variables());
    std::ofstream(training.run_dir(fmt::format("{}.pid{}", kind, environment.rank))) << ::getpid();
    int code = int(ExitCode::Internal);
    try {
        const auto config = load_config(
            {.file = training.config_file(),
             .overrides = {"system.input.dataset=" + training.run_dir("tiny.zarr").string(),
                           "system.hardware.num_gpus_per_node=4", "dataloader.batch_size.training=3",
                           fmt::format("training.strategy.timeout_s={}", kTimeout),
                           "diagnostics.checkpoint.every_n_train_steps={save_frequency: 2, num_models_saved: -1}"}});
        Failure failure(kind, environment.rank);
        NoProgress nobody;
        (void)run_training(config, environment,
                           {.run_dir = training.run_dir(kind),
                            .resume = std::nullopt,
                            .reference = std::nullopt,
                            .record = Record::No,
                            .hooks = &failure},
                           nobody);
        code = int(ExitCode::Ok);
    } catch (const Error& error) {
        std::cerr << error.what() << "\n" << std::flush;
        code = int(error.code());
    }
    std::_Exit(code);
}

std::string text_of(const fs::path& file)
{
    std::ostringstream text;
    text << std::ifstream(file).rdbuf();
    return text.str();
}

/// No process of the job is left, and what there is of checkpoints is whole.
void expect_clean(const TinyTraining& training, const std::string& kind)
{
    for (int rank = 0; rank < kRanks; ++rank) {
        const auto pid = std::stoi(text_of(training.run_dir(fmt::format("{}.pid{}", kind, rank))));
        EXPECT_EQ(::kill(pid, 0), -1) << "rank " << rank << " of the job still runs";
    }
    const auto checkpoints = CheckpointFolder(training.run_dir(kind) / "checkpoints").all();
    EXPECT_EQ(checkpoints.size(), 1u) << "one after two steps";
    for (const auto& [step, folder] : checkpoints)
        EXPECT_NO_THROW((void)Checkpoint::open(folder)) << folder;
}

/// @param in_time  most seconds that the job may take
void expect_end(const std::string& kind, int exit_code, double in_time, const std::string& cause)
{
    const TinyTraining training;
    if (std::getenv("GRADWIND_RANK"))
        train_and_fail(training);
    ::setenv(kFailure, kind.c_str(), 1);
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    const auto start = std::chrono::steady_clock::now();
    const int code = parallel::launch_local(
        {"/bin/sh", "-c", "exec \"$@\" >/dev/null 2>" + training.run_dir(kind).string() + ".err$GRADWIND_RANK", "sh",
         "/usr/bin/env", "OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1", fs::read_symlink("/proc/self/exe").string(),
         fmt::format("--gtest_filter={}.{}", info->test_suite_name(), info->name())},
        {.processes = kRanks, .grace_seconds = kGrace});
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    ::unsetenv(kFailure);
    // Who ended first is for the launcher to see: a killed process, or those who missed it.
    EXPECT_TRUE(code == exit_code || (kind == "kill" && code == int(ExitCode::Communication))) << code;
    EXPECT_LT(seconds, in_time + kSlack);
    for (const int rank : {0, 1, 3}) {
        const auto text = text_of(training.run_dir(kind).string() + fmt::format(".err{}", rank));
        if (kind == "throw" && text.empty())
            continue; // the launcher knew the cause and ended this rank before it could speak
        EXPECT_NE(text.find(fmt::format(
                      "[comm] rank {}: all_reduce in group world (ranks 0,1,2,3) failed at step {}: ", rank, kStep)),
                  std::string::npos)
            << "rank " << rank << " said:\n"
            << text;
        EXPECT_NE(text.find(cause), std::string::npos) << "rank " << rank << " said:\n" << text;
    }
    expect_clean(training, kind);
}

TEST(FailureOfOneOfFour, Killed)
{
    expect_end("kill", 128 + SIGKILL, kTimeout + kGrace, "");
}

TEST(FailureOfOneOfFour, StoppedIsKilledAfterTheGrace)
{
    expect_end("stop", int(ExitCode::Communication), kTimeout + 2 + kGrace, "");
}

TEST(FailureOfOneOfFour, HangingIsKilledAfterTheGrace)
{
    expect_end("hang", int(ExitCode::Communication), kTimeout + 2 + kGrace, "");
}

TEST(FailureOfOneOfFour, ThrownBeforeACollectiveIsToldToTheOthers)
{
    expect_end("throw", int(ExitCode::Data), kTimeout + kGrace,
               fmt::format("rank 2 had failed at step {}: file of 1979 is damaged", kStep));
}

} // namespace
} // namespace gradwind::train
