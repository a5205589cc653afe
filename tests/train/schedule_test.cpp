// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/schedule.h"

#include "gradwind/core/error.h"
#include "gradwind/train/task.h"

#include <gtest/gtest.h>

namespace gradwind::train
{
namespace
{

TEST(CosineSchedule, GivesTheRateOfEveryStep)
{
    const CosineSchedule schedule{.lr = 6.25e-5, .lr_min = 3e-7, .warmup_steps = 1000, .period_steps = 150000};
    EXPECT_EQ(schedule.at(0), 0.0);
    EXPECT_DOUBLE_EQ(schedule.at(1), 6.25e-8);
    EXPECT_DOUBLE_EQ(schedule.at(999), 6.24375e-5);
    EXPECT_NEAR(schedule.at(1000), 6.24931792560677e-05, 1e-18);
    EXPECT_NEAR(schedule.at(75000), 3.14e-5, 1e-18);
    EXPECT_EQ(schedule.at(150000), 3e-7);
    EXPECT_EQ(schedule.at(300000), 3e-7);
}

TEST(CosineSchedule, WithoutWarmUpStartsAtThePeak)
{
    const CosineSchedule schedule{.lr = 0.002, .lr_min = 1e-4, .warmup_steps = 0, .period_steps = 30};
    EXPECT_EQ(schedule.at(0), 0.002);
    EXPECT_NEAR(schedule.at(10), 0.001525, 1e-15);
}

TEST(RolloutSchedule, GrowsAtTheEndOfEveryNthEpoch)
{
    const RolloutSchedule schedule{.start = 1, .epoch_increment = 2, .maximum = 3};
    const int64_t expected[] = {1, 1, 2, 2, 3, 3, 3};
    for (int64_t epoch = 0; epoch < 7; ++epoch)
        EXPECT_EQ(schedule.at(epoch), expected[epoch]);
    EXPECT_EQ((RolloutSchedule{.start = 2, .epoch_increment = 0, .maximum = 5}.at(100)), 2);
}

TEST(EffectiveLr, ScalesWithTheNumberOfReplicas)
{
    EXPECT_DOUBLE_EQ(effective_lr(1e-3, LrScaling::Anemoi, 8, 2), 4e-3);
    EXPECT_DOUBLE_EQ(effective_lr(1e-3, LrScaling::None, 8, 2), 1e-3);
}

TEST(ForecasterTask, TimeAxisHoldsInputsThenOutputsOfEveryStep)
{
    const ForecasterTask task{
        .n_step_input = 2, .n_step_output = 3, .timestep_s = 6 * 3600, .rollout = {}, .validation_rollout = {}};
    EXPECT_EQ(task.relative_indices(3 * 3600, 2), (std::vector<int64_t>{-2, 0, 2, 4, 6, 8, 10, 12}));
    EXPECT_EQ(task.first_output(1), 5);
    EXPECT_THROW((void)task.relative_indices(4 * 3600, 1), ConfigError);
}

} // namespace
} // namespace gradwind::train
