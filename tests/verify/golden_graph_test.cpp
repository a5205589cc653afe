// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Graphs of the original packages, built again (golden graphs-* cases).
#include "gradwind/graph/build.h"
#include "gradwind/verify/graph_compare.h"
#include "gradwind/verify/report.h"

#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace gradwind::verify
{

namespace
{

std::filesystem::path golden()
{
    const char* folder = std::getenv("GRADWIND_GOLDEN");
    return folder != nullptr ? std::filesystem::path(folder)
                             : std::filesystem::path(GRADWIND_SOURCE_DIR) / "../shared/golden";
}

void expect_passed(const CaseReport& report)
{
    for (const Check& check : report.checks)
        EXPECT_TRUE(check.passed()) << check.name << ": error " << check.error << ", tolerance " << check.tolerance;
    for (const std::string& part : report.not_run)
        ADD_FAILURE() << "not run: " << part;
    EXPECT_FALSE(report.checks.empty());
}

} // namespace

class GoldenGraph : public testing::TestWithParam<const char*>
{
};

TEST_P(GoldenGraph, IsBuiltAgain)
{
    const std::filesystem::path folder = golden() / GetParam();
    if (!std::filesystem::exists(folder / "case.json"))
        GTEST_SKIP() << "no reference vectors at " << folder << "; set GRADWIND_GOLDEN";
    std::ifstream in(folder / "case.json");
    expect_passed(verify_graph_case(folder, nlohmann::json::parse(in)));
}

INSTANTIATE_TEST_SUITE_P(Cases, GoldenGraph,
                         testing::Values("graphs-tri2", "graphs-tri3", "graphs-edge-builders", "graphs-lam",
                                         "graphs-postprocessors", "graphs-healpix", "graphs-stretched"));

} // namespace gradwind::verify
