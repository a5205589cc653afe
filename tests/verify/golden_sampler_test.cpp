// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/verify/report.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstdlib>
#include <fstream>

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

TEST(GoldenSampler, EqualsTheOriginal)
{
    const auto folder = golden_folder() / "sampler";
    std::ifstream in(folder / "case.json");
    if (!in.good())
        GTEST_SKIP() << "no reference vectors at " << folder;
    const auto report = verify_sampler_case(folder, nlohmann::json::parse(in));
    EXPECT_GT(report.checks.size(), 100u);
    for (const auto& check : report.checks)
        EXPECT_TRUE(check.passed()) << check.name << ": " << check.error << " > " << check.tolerance;
}

} // namespace
} // namespace gradwind::verify
