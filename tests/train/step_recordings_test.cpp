// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/step_recordings.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/device_graph.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace gradwind::train
{
namespace
{

using Was = StepRecordings::Was;

/// Runs what is recorded, as the host does, and starts nothing.
class NoDevice : public parallel::detail::DeviceGraph
{
public:
    void record(const std::function<void()>& work) override { work(); }
    void mark(int32_t) override {}
    void start() override {}
    void after_other_work() override { ++others; }
    [[nodiscard]] bool is_done() override { return true; }
    [[nodiscard]] int32_t reached() const override { return -1; }
    int others = 0;
};

class Recordings : public ::testing::Test
{
protected:
    StepRecordings::Inputs inputs(double value, bool masked = false) const
    {
        RolloutDataset dataset{"data", table_, at::full({1, 2}, value)};
        if (masked)
            dataset.context.nan_mask = at::full({1, 2}, 10 * value);
        return {{std::move(dataset)}};
    }

    const VariableTable table_{{"a"}, {}, {}};
    std::vector<const parallel::RecordedWork*> beside_;
    std::shared_ptr<NoDevice> device_; ///< of the recording made last
    StepRecordings recordings_{[this](const parallel::RecordedWork* beside) {
        beside_.push_back(beside);
        device_ = std::make_shared<NoDevice>();
        return std::make_unique<parallel::RecordedWork>(device_, std::chrono::seconds(1));
    }};
};

TEST_F(Recordings, TakeAKindTheSecondTimeItComes)
{
    const StepRecordings::Kind kind{.batches = {{2, 0.5}}, .exchange = 4};
    EXPECT_FALSE(recordings_.takes(kind));
    EXPECT_TRUE(recordings_.takes(kind));
    auto longer = kind;
    longer.n_rollout = 2;
    EXPECT_FALSE(recordings_.takes(longer));
    auto last_of_epoch = kind;
    last_of_epoch.batches = {{1, 1.0}};
    EXPECT_FALSE(recordings_.takes(last_of_epoch));
}

TEST_F(Recordings, WorkOnTheValuesOfEachStep)
{
    const StepRecordings::Kind kind{.batches = {{1, 1.0}}, .exchange = 2};
    at::Tensor batch, mask; // where the device would read
    const auto work = [&](const StepRecordings::Inputs& in) {
        batch = in.front().front().batch;
        mask = in.front().front().context.nan_mask;
        return StepRecordings::Shares{at::full({}, 1.0)};
    };
    StepRecordings::Shares shares;
    const auto first = inputs(1, true);
    EXPECT_EQ(recordings_.run(kind, first, work, shares), Was::Recorded);
    EXPECT_FALSE(batch.is_alias_of(first.front().front().batch)); // which is gone with the step
    EXPECT_EQ(batch.sum().item<double>(), 2);
    EXPECT_EQ(recordings_.run(kind, inputs(3, true), work, shares), Was::Repeated);
    EXPECT_EQ(batch.sum().item<double>(), 6);
    EXPECT_EQ(mask.sum().item<double>(), 60);
    EXPECT_EQ(shares.size(), 1u);
    EXPECT_THROW(recordings_.run(kind, inputs(3), work, shares), InternalError);
    recordings_.wait();
}

TEST_F(Recordings, ShareMemoryInTurnsAndGiveItBackToOthers)
{
    const StepRecordings::Kind p{.batches = {{1, 1.0}}, .exchange = 8}, q{.batches = {{1, 1.0}}, .exchange = 9},
        other{.batches = {{1, 1.0}}, .exchange = 10};
    EXPECT_TRUE(p.alternates_with(q));
    EXPECT_FALSE(q.alternates_with(other));
    const auto work = [](const StepRecordings::Inputs&) { return StepRecordings::Shares{at::zeros({})}; };
    StepRecordings::Shares shares;
    const auto step = [&](const StepRecordings::Kind& kind) {
        return recordings_.takes(kind) ? std::optional(recordings_.run(kind, inputs(1), work, shares)) : std::nullopt;
    };
    EXPECT_FALSE(step(p));
    EXPECT_FALSE(step(q));
    EXPECT_EQ(step(p), Was::Recorded);
    EXPECT_EQ(step(q), Was::Recorded);
    EXPECT_EQ(step(p), Was::Repeated);
    ASSERT_EQ(beside_.size(), 2u);
    EXPECT_EQ(beside_[0], nullptr);
    EXPECT_NE(beside_[1], nullptr);
    EXPECT_FALSE(step(other)); // as it is, with all of the memory
    EXPECT_EQ(step(p), Was::Recorded);
    EXPECT_EQ(beside_.back(), nullptr);
}

TEST_F(Recordings, HearOfOtherWork)
{
    recordings_.after_other_work(); // nothing is recorded yet
    const StepRecordings::Kind kind{.batches = {{1, 1.0}}, .exchange = 2};
    const auto work = [](const StepRecordings::Inputs&) { return StepRecordings::Shares{at::zeros({})}; };
    StepRecordings::Shares shares;
    (void)recordings_.run(kind, inputs(1), work, shares);
    EXPECT_EQ(device_->others, 0);
    recordings_.after_other_work();
    EXPECT_EQ(device_->others, 1);
}

TEST(NoNoise, RefusesEnsembles)
{
    EXPECT_THROW((void)NoNoise().draw({}), ConfigError);
}

} // namespace
} // namespace gradwind::train
