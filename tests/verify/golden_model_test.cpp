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

class GoldenModel : public testing::TestWithParam<const char*>
{
};

TEST_P(GoldenModel, EqualsTheOriginal)
{
    const auto folder = golden_folder() / GetParam();
    std::ifstream in(folder / "case.json");
    if (!in.good())
        GTEST_SKIP() << "no reference vectors at " << folder;
    const auto description = nlohmann::json::parse(in);
    const auto report = description.at("kind") == "init" ? verify_init_case(folder, description)
                                                         : verify_model_case(folder, description);
    EXPECT_GT(report.checks.size(), 50u);
    for (const auto& reason : report.not_run)
        ADD_FAILURE() << reason;
    for (const auto& check : report.checks)
        EXPECT_TRUE(check.passed()) << check.name << ": " << check.error << " > " << check.tolerance;
    if (const auto* worst = report.worst())
        std::cout << "worst: " << worst->name << " " << worst->error << " of " << worst->tolerance << std::endl;
}

INSTANTIATE_TEST_SUITE_P(Cases, GoldenModel,
                         testing::Values("gnn-default", "gnn-variant", "gnn-boundings", "gnn-swiglu",
                                         "graphtransformer-default", "graphtransformer-chunks",
                                         "graphtransformer-heads5", "graphtransformer-qknorm",
                                         "graphtransformer-targets", "rollout-2", "rollout-3-multistep", "rollout-lam",
                                         "init-gnn", "init-graphtransformer", "pointwise-mlp", "transformer-mappers",
                                         "transformer-qknorm", "transformer-window", "init-ens", "ens-graphtransformer",
                                         "ens-transformer", "ens-truncated-multiscale", "ens-rollout",
                                         "init-transformer"),
                         [](const auto& info) {
                             std::string name = info.param;
                             std::replace(name.begin(), name.end(), '-', '_');
                             return name;
                         });

TEST(GoldenModelKinds, WhatIsNotAvailableYetIsSaidAndNeverPasses)
{
    const auto folder = golden_folder() / "gnn-default";
    std::ifstream in(folder / "case.json");
    if (!in.good())
        GTEST_SKIP() << "no reference vectors at " << folder;
    auto description = nlohmann::json::parse(in);
    description["config"]["model"]["model"]["_target_"] = "AnemoiModelAutoEncoder";
    const auto report = verify_model_case(folder, description);
    EXPECT_FALSE(report.passed());
    ASSERT_EQ(report.not_run.size(), 1u);
    EXPECT_NE(report.not_run[0].find("not available yet"), std::string::npos) << report.not_run[0];
}

} // namespace
} // namespace gradwind::verify
