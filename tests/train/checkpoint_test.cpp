// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/checkpoint.h"

#include "gradwind/core/error.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

namespace gradwind::train
{
namespace
{

namespace fs = std::filesystem;

class CheckpointTest : public ::testing::Test
{
protected:
    void SetUp() override { fs::remove_all(root_); }
    void TearDown() override { fs::remove_all(root_); }

    static CheckpointContents contents(int64_t step, std::vector<std::string> cadences = {"step"})
    {
        return {.step = step,
                .weights = {{"a", at::full({2, 3}, double(step))}, {"b", at::arange(4)}},
                .optimizer = {{"exp_avg.a", at::ones({6})}},
                .state = {{"epoch", 7}},
                .cadences = std::move(cadences)};
    }
    [[nodiscard]] std::string message_of_open(const fs::path& path) const
    {
        try {
            (void)Checkpoint::open(path);
        } catch (const CheckpointError& e) {
            return e.what();
        }
        return "no error";
    }

    fs::path root_ = fs::temp_directory_path() / ("gradwind-checkpoint-" + std::to_string(::getpid()));
};

TEST_F(CheckpointTest, RoundTripThroughTheRunFolder)
{
    const CheckpointFolder folder(root_ / "checkpoints");
    folder.save(contents(12));
    folder.save(contents(15));
    EXPECT_EQ(fs::read_symlink(root_ / "checkpoints" / "last"), "step_000015");
    const auto checkpoint = Checkpoint::open(root_);
    EXPECT_EQ(checkpoint.state["step"], 15);
    EXPECT_EQ(checkpoint.state["epoch"], 7);
    auto a = at::zeros({2, 3}, at::kDouble), b = at::zeros({4}, at::kLong);
    load_tensors(checkpoint.weights, {{"a", a}, {"b", b}});
    EXPECT_TRUE(at::equal(a, at::full({2, 3}, 15.0, at::kDouble)));
    EXPECT_TRUE(at::equal(b, at::arange(4)));
    EXPECT_EQ(Checkpoint::open(root_ / "checkpoints" / "step_000012").state["step"], 12);
}

TEST_F(CheckpointTest, RetentionCountsEachCadenceByItself)
{
    const CheckpointFolder folder(root_, {{"step", 2}, {"epoch", 1}});
    folder.save(contents(1));
    folder.save(contents(2, {"step", "epoch"}));
    folder.save(contents(3));
    folder.save(contents(4));
    folder.save(contents(5, {"final"}));
    std::vector<int64_t> steps;
    for (const auto& [step, path] : folder.all())
        steps.push_back(step);
    EXPECT_EQ(steps, (std::vector<int64_t>{2, 3, 4, 5})) << "2 is the newest of its epoch cadence";
}

TEST_F(CheckpointTest, TheSameStepAgainReplacesTheOlderOne)
{
    const CheckpointFolder folder(root_);
    folder.save(contents(3));
    auto again = contents(3, {"signal"});
    again.state["epoch"] = 8;
    folder.save(again);
    EXPECT_EQ(Checkpoint::open(root_).state["epoch"], 8);
    EXPECT_EQ(folder.all().size(), 1u);
}

TEST_F(CheckpointTest, LastFallsBackToTheNewestCompleteFolder)
{
    const CheckpointFolder folder(root_);
    folder.save(contents(3));
    folder.save(contents(9));
    fs::remove_all(root_ / "step_000009"); // what `last` names is gone
    fs::create_directories(root_ / "step_000020");
    EXPECT_EQ(folder.last(), root_ / "step_000003");
}

TEST_F(CheckpointTest, EveryDifferenceOfTheTensorsIsNamed)
{
    const CheckpointFolder folder(root_);
    folder.save(contents(1));
    const auto checkpoint = Checkpoint::open(root_);
    try {
        load_tensors(checkpoint.weights, {{"a", at::zeros({2, 4})}, {"c", at::zeros({5})}});
        FAIL() << "no error";
    } catch (const CheckpointError& e) {
        const std::string message = e.what();
        EXPECT_NE(message.find("`a` has shape [2, 3], expected [2, 4]"), std::string::npos) << message;
        EXPECT_NE(message.find("`b` [4] is not part of this model"), std::string::npos) << message;
        EXPECT_NE(message.find("`c` [5] is missing"), std::string::npos) << message;
    }
}

TEST_F(CheckpointTest, DamagedOrAbsentFilesAreOneClearError)
{
    EXPECT_NE(message_of_open(root_).find("found nothing"), std::string::npos);
    const CheckpointFolder folder(root_);
    const auto path = folder.save(contents(1));
    fs::resize_file(path / "weights.safetensors", fs::file_size(path / "weights.safetensors") - 3);
    EXPECT_NE(message_of_open(root_).find("weights.safetensors"), std::string::npos);
    folder.save(contents(2));
    std::ofstream(root_ / "step_000002" / "state.json") << "{\"epoch\": ";
    EXPECT_NE(message_of_open(root_).find("state.json is damaged"), std::string::npos);
    fs::remove(root_ / "step_000002" / "state.json");
    EXPECT_NE(message_of_open(root_ / "step_000002").find("no complete checkpoint"), std::string::npos);
}

TEST_F(CheckpointTest, AFullDiskLeavesTheOlderCheckpointsAlone)
{
    const CheckpointFolder folder(root_);
    folder.save(contents(1));
    const pid_t child = ::fork();
    if (child == 0) {
        // Files may not grow beyond a few bytes: what a full disk does to the second checkpoint.
        ::signal(SIGXFSZ, SIG_IGN);
        const rlimit limit{64, 64};
        ::setrlimit(RLIMIT_FSIZE, &limit);
        int code = 1;
        try {
            folder.save(contents(2));
        } catch (const CheckpointError&) {
            code = 0;
        } catch (...) {
            code = 2;
        }
        ::_exit(code);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
    EXPECT_EQ(Checkpoint::open(root_).state["step"], 1);
    for (const auto& entry : fs::directory_iterator(root_))
        EXPECT_FALSE(entry.path().filename().string().starts_with(".")) << entry.path() << " was left behind";
}

TEST(Differences, NamesEveryLeaf)
{
    const nlohmann::json then = {{"model", {{"num_channels", 32}, {"old", 1}}}, {"same", 2}};
    const nlohmann::json now = {{"model", {{"num_channels", 64}, {"new", true}}}, {"same", 2}};
    EXPECT_EQ(differences(then, now),
              (std::vector<std::string>{"model.num_channels: was 32, is 64", "model.old: was 1, is null",
                                        "model.new: was null, is true"}));
}

} // namespace
} // namespace gradwind::train
