// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/loss/metrics.h"
#include "tests/loss/support.h"

#include <cmath>
#include <limits>

namespace gradwind::loss::test
{
namespace
{

const char* const kMetrics = R"({
    "mse": {"_target_": "MSELoss", "scalers": ["nodes", "steps"], "ignore_nans": true},
    "rmse": {"_target_": "RMSELoss", "scalers": ["nodes", "steps"]}})";

ValidationMetrics make(const World& world, const char* metrics = kMetrics)
{
    return {config(metrics),
            config(kScalers),
            config(kGroups),
            world.inputs(),
            {.dataset = "data", .variables = {"a_850", "b"}, .rollout_steps = 2}};
}

TEST(Metrics, NamesAreTheOriginals)
{
    const World world;
    const auto names = make(world).names();
    const std::vector<std::string> expected = {"val_data_mse_metric/data/pl_a/1",  "val_data_mse_metric/data/a_850/1",
                                               "val_data_mse_metric/data/sfc_b/1", "val_data_mse_metric/data/b/1",
                                               "val_data_mse_metric/data/sfc_d/1", "val_data_mse_metric/data/all/1",
                                               "val_data_rmse_metric/data/pl_a/1"};
    ASSERT_EQ(names.size(), 24u);
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), names.begin()));
    EXPECT_EQ(names.back(), "val_data_rmse_metric/data/all/2");
    EXPECT_EQ(validation_loss_name(*build(R"({"_target_": "MSELoss"})"), "data"), "val_data_lossvariablemapper_loss");
}

TEST(Metrics, MeansOverBatchesOfDifferentSizeAreMeansOverSamples)
{
    const World world;
    const auto metrics = make(world);
    const auto [pred, target] = random_batch(1, at::kDouble, 3);
    auto sums = metrics.zero();
    metrics.add(sums, 0, pred.narrow(0, 0, 2), target.narrow(0, 0, 2));
    metrics.add(sums, 0, pred.narrow(0, 2, 1), target.narrow(0, 2, 1));
    const auto means = metrics.means(sums);
    const auto whole = build(R"({"_target_": "MSELoss", "scalers": ["nodes", "steps"]})")->per_variable(pred, target);
    EXPECT_NEAR(means[0], (whole[0] + whole[1]).item<double>() / 2, 1e-12);
    EXPECT_NEAR(means[1], whole[1].item<double>(), 1e-12);
    EXPECT_NEAR(means[5], whole.mean().item<double>(), 1e-12);
    EXPECT_EQ(means[12], 0.0); // nothing was added to the second step
}

TEST(Metrics, SlicesOfTheGridAddUpToTheWhole)
{
    const World world;
    const auto metrics = make(world, R"({"mse": {"_target_": "MSELoss", "scalers": ["nodes", "steps"]}})");
    const auto [pred, target] = random_batch(1, at::kDouble);
    auto whole = metrics.zero();
    metrics.add(whole, 0, pred, target);
    auto parts = metrics.zero();
    metrics.add(parts, 0, pred.narrow(3, 0, 20), target.narrow(3, 0, 20), {.grid = GridSlice{0, 20}});
    metrics.add(parts, 0, pred.narrow(3, 20, 17), target.narrow(3, 20, 17), {.grid = GridSlice{20, kNodes}});
    for (size_t i = 0; i < whole.values.size(); ++i)
        EXPECT_NEAR(whole.values[i], parts.values[i], 1e-12) << i;
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
    EXPECT_THROW((void)make(world).means(make(world).zero()), DataError);
}

TEST(Metrics, RmseTableCountsValidCellsOfAllDates)
{
    RmseTable table(2, at::tensor({1.0, 1.0, 0.0}));
    const auto truth = at::zeros({3, 2});
    const auto forecast = at::tensor({1.f, 2.f, 3.f, 2.f, 99.f, 99.f}).reshape({3, 2});
    table.add(forecast, truth);
    forecast[0][0].fill_(std::numeric_limits<float>::quiet_NaN());
    table.add(forecast, truth);
    const auto values = table.values();
    EXPECT_NEAR(values[0], std::sqrt((1 + 9 + 9) / 3.0), 1e-12);
    EXPECT_NEAR(values[1], 2.0, 1e-12);
    EXPECT_TRUE(std::isnan(RmseTable(1).values()[0]));
    EXPECT_THROW(table.add(forecast, truth.narrow(0, 0, 2)), ShapeError);
}

} // namespace
} // namespace gradwind::loss::test
