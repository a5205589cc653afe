// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Optimiser steps and whole runs of the original on one process; several are run by `gradwind verify`.
#include "gradwind/verify/golden.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstdlib>

namespace gradwind::verify
{
namespace
{

std::filesystem::path golden_folder()
{
    if (const char* folder = std::getenv("GRADWIND_GOLDEN"))
        return folder;
    return std::filesystem::path(GRADWIND_SOURCE_DIR) / ".." / "shared" / "golden";
}

class GoldenTraining : public ::testing::TestWithParam<const char*>
{
};

TEST_P(GoldenTraining, EqualsTheOriginal)
{
    const auto folder = golden_folder() / GetParam();
    if (!std::filesystem::exists(folder / "case.json"))
        GTEST_SKIP() << "no reference vectors at " << folder;
    const auto report = run_case(folder);
    EXPECT_TRUE(report.passed()) << format_table({report});
    if (std::getenv("GRADWIND_SHOW"))
        for (const auto& check : report.checks)
            std::printf("%-60s %.3e  (%.1e)\n", check.name.c_str(), check.error, check.tolerance);
}

INSTANTIATE_TEST_SUITE_P(OneProcess, GoldenTraining,
                         ::testing::Values("optim-default", "optim-clipnorm", "optim-graphtransformer",
                                           "optim-schedule", "run-uk-gnn"),
                         [](const auto& info) {
                             std::string name = info.param;
                             for (auto& letter : name)
                                 letter = letter == '-' ? '_' : letter;
                             return name;
                         });

} // namespace
} // namespace gradwind::verify
