// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Tests with several processes: a test runs its own executable again, once per rank, and judges what comes of it.
#pragma once
#include "gradwind/parallel/world.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace gradwind::testing
{

using RankCounts = std::vector<int>;

struct RunOptions {
    double watchdog_seconds = 60; ///< then every rank that is left is killed, and the test fails
    double timeout_seconds = 20;  ///< of a collective inside the ranks
};

struct RankResult {
    int exit_code = 0; ///< 128 + n if signal n ended it
    double seconds = 0;
    std::string output; ///< stdout and stderr together
};

/// True in a process that run_ranks() started.
[[nodiscard]] bool in_rank();

/// The group of all ranks of the test; only where in_rank().
[[nodiscard]] parallel::Group rank_world();

/// Runs the current test in n fresh processes, where in_rank() is true. @return one result per rank
[[nodiscard]] std::vector<RankResult> run_ranks(int n, const RunOptions& options = {});

/// Runs body on every rank for each count (in this process for one rank); a failure in any rank fails the test and
/// shows that rank's output.
void run_multirank(const RankCounts& counts, void (*body)(const parallel::Group& world));

} // namespace gradwind::testing

/// GRADWIND_MULTIRANK_TEST(Group, Sums, RankCounts{1, 2, 3}) { body that sees `const parallel::Group& world` }
#define GRADWIND_MULTIRANK_TEST(suite, name, ...)                                                                      \
    static void suite##_##name##_on_ranks(const ::gradwind::parallel::Group& world);                                   \
    TEST(suite, name)                                                                                                  \
    {                                                                                                                  \
        using ::gradwind::testing::RankCounts;                                                                         \
        ::gradwind::testing::run_multirank(__VA_ARGS__, &suite##_##name##_on_ranks);                                   \
    }                                                                                                                  \
    static void suite##_##name##_on_ranks([[maybe_unused]] const ::gradwind::parallel::Group& world)
