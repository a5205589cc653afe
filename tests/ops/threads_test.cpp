// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The loops of this library run on as many threads as they are given: that depends on how it was compiled.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <mutex>
#include <set>
#include <thread>

namespace gradwind::ops
{
namespace
{

TEST(Threads, ParallelForUsesSeveral)
{
    const auto before = at::get_num_threads();
    at::set_num_threads(3);
    std::mutex mutex;
    std::set<std::thread::id> seen;
    at::parallel_for(0, 3000, 1, [&](int64_t, int64_t) {
        const std::lock_guard lock(mutex);
        seen.insert(std::this_thread::get_id());
    });
    at::set_num_threads(before);
    EXPECT_EQ(seen.size(), 3U);
}

} // namespace
} // namespace gradwind::ops
