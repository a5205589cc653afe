// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The golden cases `losses` and `normalizer`, where they are present.
#include "gradwind/verify/report.h"

#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace gradwind::verify
{
namespace
{

using Verifier = CaseReport (*)(const std::filesystem::path&, const nlohmann::json&);

void expect_case_passes(const char* name, Verifier verifier, size_t least_checks)
{
    const char* root = std::getenv("GRADWIND_GOLDEN");
    const auto folder =
        (root ? std::filesystem::path(root) : std::filesystem::path(GRADWIND_SOURCE_DIR) / ".." / "shared" / "golden") /
        name;
    if (!std::filesystem::exists(folder / "case.json"))
        GTEST_SKIP() << "no reference vectors in " << folder << "; set GRADWIND_GOLDEN";
    std::ifstream in(folder / "case.json");
    const auto report = verifier(folder, nlohmann::json::parse(in));
    EXPECT_GE(report.checks.size(), least_checks);
    for (const auto& check : report.checks)
        EXPECT_LE(check.error, check.tolerance) << check.name;
    for (const auto& reason : report.not_run)
        ADD_FAILURE() << "not run: " << reason;
}

TEST(GoldenLosses, EveryLossScalerAndGradient)
{
    expect_case_passes("losses", verify_losses_case, 300);
}

TEST(GoldenNormalizer, EveryProcessorBothWays)
{
    expect_case_passes("normalizer", verify_normalizer_case, 100);
}

} // namespace
} // namespace gradwind::verify
