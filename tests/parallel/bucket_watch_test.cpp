// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/bucket_watch.h"

#include <gtest/gtest.h>

#include <atomic>

namespace gradwind::parallel::detail
{
namespace
{

using Clock = BucketWatch::Clock;

TEST(BucketWatch, NotesWhenEachIsDoneAndNoneBeforeTheOneAhead)
{
    const auto start = Clock::now();
    BucketWatch watch(start);
    std::atomic<bool> first = false, second = true;
    watch.launched([&] { return first.load(); });
    watch.launched([&] { return second.load(); });
    watch.launched({}); // nobody can tell: done when its turn comes
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    first = true;
    const auto summed = watch.stop();
    ASSERT_EQ(summed.size(), 3u);
    EXPECT_GE(summed[0], 0.02);
    EXPECT_LE(summed[0], summed[1]);
    EXPECT_LE(summed[1], summed[2]);
    EXPECT_LE(summed[2], std::chrono::duration<double>(Clock::now() - start).count());
}

TEST(BucketWatch, OfAFailedStepWaitsForNobody)
{
    const auto start = Clock::now();
    {
        BucketWatch watch(start);
        watch.launched([] { return false; });
    }
    EXPECT_LT(Clock::now() - start, std::chrono::seconds(5));
}

} // namespace
} // namespace gradwind::parallel::detail
