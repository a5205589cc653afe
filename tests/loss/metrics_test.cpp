// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/loss/metrics.h"
#include "tests/loss/support.h"

#include <cmath>

namespace gradwind::loss::test
{
namespace
{

const char* const kMetrics = R"({
    "mse": {"_target_": "MSELoss", "scalers": ["nodes", "steps"], "ignore_nans": true},
    "rmse": {"_target_": "RMSELoss", "scalers": ["nodes", "steps"]}})";

std::vector<ValidationMetric> make(const World& world, const char* metrics = kMetrics)
{
    return build_metrics(config(metrics), config(kScalers), config(kGroups), world.inputs());
}

TEST(Metrics, RangesAreGroupsThenListedVariablesThenAll)
{
    const World world;
    const auto ranges = metric_ranges(VariableGroups(config(kGroups), world.inputs().variables_metadata),
                                      world.variables.output_names(), {"b", "a_850", "not_an_output"});
    std::vector<std::string> names;
    for (const auto& range : ranges)
        names.push_back(range.name);
    EXPECT_EQ(names, (std::vector<std::string>{"pl_a", "sfc_b", "sfc_d", "b", "a_850", "all"}));
    EXPECT_EQ(ranges[0].columns, (std::vector<int64_t>{0, 1}));
    EXPECT_EQ(ranges[3].columns, (std::vector<int64_t>{2}));
    EXPECT_EQ(ranges[4].columns, (std::vector<int64_t>{1}));
    EXPECT_EQ(ranges[5].columns, (std::vector<int64_t>{0, 1, 2, 3}));
}

TEST(Metrics, AreMeansOverTheColumnsOfARange)
{
    const World world;
    const auto metrics = make(world);
    ASSERT_EQ(metrics.size(), 2u);
    EXPECT_EQ(metrics[0].name, "mse");
    EXPECT_TRUE(metrics[0].loss->additive());
    EXPECT_FALSE(metrics[1].loss->additive());
    const auto [pred, target] = random_batch(1, at::kDouble, 3);
    const std::vector<std::vector<int64_t>> columns = {{0, 1}, {1}, {0, 1, 2, 3}};
    const auto values = metrics[0].loss->by_range(pred, target, columns);
    const auto whole = build(R"({"_target_": "MSELoss", "scalers": ["nodes", "steps"]})")->per_variable(pred, target);
    EXPECT_NEAR(values[0].item<double>(), (whole[0] + whole[1]).item<double>() / 2, 1e-12);
    EXPECT_NEAR(values[1].item<double>(), whole[1].item<double>(), 1e-12);
    EXPECT_NEAR(values[2].item<double>(), whole.mean().item<double>(), 1e-12);
    const auto roots = metrics[1].loss->by_range(pred, target, columns);
    EXPECT_NEAR(roots[2].item<double>(), std::sqrt(whole.mean().item<double>()), 1e-12);
}

TEST(Metrics, ScalersAlongVariablesAreRefused)
{
    const World world;
    try {
        (void)make(world, R"({"mse": {"_target_": "MSELoss", "scalers": ["nodes", "general"]}})");
        FAIL();
    } catch (const ConfigError& error) {
        EXPECT_STREQ(error.what(), "[metrics] metric `mse` has a scaler along the variables; errors in physical units "
                                   "cannot be scaled so (key `mse` (test.yaml))");
    }
}

} // namespace
} // namespace gradwind::loss::test
