// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/exposure.h"

#include "tests/support/ranks.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace gradwind::train
{
namespace
{

parallel::BucketReport report(double launched, double backward, double exposed)
{
    parallel::BucketReport result;
    result.buckets.push_back({.bytes = 8, .on_wire = 8, .ready = launched, .launched = launched, .waited = exposed});
    result.backward = backward;
    result.exposed = exposed;
    return result;
}

GRADWIND_MULTIRANK_TEST(Exposure, NamesTheRankThatTheOthersWaitFor, RankCounts{1, 3})
{
    ExposureAccount account(world);
    // All sums are there at 12: rank 1 comes at 11, the others at 4 and 5.
    const double ends[] = {4, 11, 5};
    const double end = ends[world.rank()];
    for (int step = 0; step < 5; ++step)
        account.add(report(1, end, 12 - end));
    const auto means = account.take_means();
    const auto rows = account.rows();
    ASSERT_EQ(rows.size(), size_t(world.size()));
    if (world.size() == 1) {
        EXPECT_TRUE(means.empty());
        EXPECT_TRUE(exposure_table(rows).empty());
        return;
    }
    ASSERT_EQ(means.size(), 4u);
    EXPECT_EQ(means[0].first, "exchange/hidden_s");
    EXPECT_DOUBLE_EQ(means[0].second, (3 + 10 + 4) / 3.0);
    EXPECT_DOUBLE_EQ(means[1].second, (8 + 1 + 7) / 3.0);
    EXPECT_EQ(means[2].second, 1) << "the straggler";
    EXPECT_DOUBLE_EQ(means[3].second, 6.5) << "7 and 6 seconds longer than it waited itself";
    EXPECT_DOUBLE_EQ(rows[1].straggled, 1);
    EXPECT_DOUBLE_EQ(rows[0].exposed_s, 8);
    EXPECT_NE(exposure_table(rows)[0].find("rank 1 came last in 100 %"), std::string::npos);
    account.add(report(0, 1, 1));
    EXPECT_DOUBLE_EQ(account.take_means()[1].second, 1) << "an interval begins anew";
}

GRADWIND_MULTIRANK_TEST(Exposure, AGroupCountsHowLongItIsHeldUp, RankCounts{1, 2})
{
    const auto before = world.traffic();
    if (world.rank() == 1)
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
    auto work = world.all_reduce_sum_async_(at::ones({4}));
    work.wait();
    const double waited =
        world.traffic().of(parallel::Verb::AllReduce).wait_s - before.of(parallel::Verb::AllReduce).wait_s;
    if (world.size() == 1) {
        EXPECT_EQ(waited, 0);
    } else if (world.rank() == 0) {
        EXPECT_GT(waited, 0.05) << "for the other, who came late";
    }
    EXPECT_LT(waited, 30) << "seconds";
}

} // namespace
} // namespace gradwind::train
