// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/loss/error_sums.h"
#include "tests/loss/support.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd.h>

#include <limits>

namespace gradwind::loss::test
{
namespace
{

const std::string kFull = R"("scalers": ["general", "levels", "nodes", "steps"])";
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::string plain(const std::string& target, const std::string& more = "")
{
    return R"({"_target_": ")" + target + R"(", )" + kFull + more + "}";
}

std::vector<std::string> all_losses()
{
    return {plain("MSELoss"),
            plain("MAELoss"),
            plain("HuberLoss", R"(, "delta": 0.7)"),
            plain("LogCoshLoss"),
            plain("RMSELoss"),
            plain("CRPS", R"(, "alpha": 0.95)"),
            plain("CRPS", R"(, "alpha": 0.3, "backend": "naive")"),
            plain("AlmostFairKernelCRPS", R"(, "alpha": 0.7)"),
            plain("KernelCRPS", R"(, "fair": false)"),
            plain("EnergyScoreLoss", R"(, "norm_over": "spatial")"),
            plain("EnergyScoreLoss", R"(, "norm_over": "variables", "fair": false)"),
            plain("EnergyScoreLoss", R"(, "norm_over": "spatial_and_variables")"),
            R"({"_target_": "CombinedLoss", "loss_weights": [0.3, 0.7], )" + kFull +
                R"(, "losses": [{"_target_": "MSELoss"}, {"_target_": "MAELoss", "scalers": ["nodes"]}]})",
            R"({"_target_": "TimeAggregateLossWrapper", "time_aggregation_types": ["mean", "max", "diff"],
                "loss_fn": )" +
                plain("MSELoss") + "}"};
}

at::Tensor gradient(const Loss& loss, const at::Tensor& pred, const at::Tensor& target, const LossContext& context = {})
{
    const auto x = pred.detach().clone().requires_grad_(true);
    return torch::autograd::grad({loss(x, target, context)}, {x}).front();
}

TEST(Loss, MeanSquaredErrorIsTheFormulaOfTheSpecification)
{
    const World world;
    const auto [pred, target] = random_batch(3, at::kDouble);
    const double weights[] = {2 * 0.5, 2 * 0.85, 1, 0.5}; // general x level, of a_500, a_850, b, d
    const int64_t columns[] = {0, 2, 3, 5};
    const auto area = (world.area / world.area.sum()).to(at::kDouble).reshape({kNodes});
    double expected = 0;
    for (int64_t v = 0; v < 4; ++v) {
        const auto error = (pred.select(4, v) - target.select(4, columns[v])).square();
        expected += weights[v] * (error * area * 0.5).sum().item<double>() / (2 * 3 * 4);
    }
    // 0.85 is a float32 value in a scaler, as in the original.
    EXPECT_NEAR((*build(plain("MSELoss")))(pred, target).item<double>(), expected, 1e-7 * expected);
}

TEST(Loss, GradientsAgreeWithFiniteDifferences)
{
    for (const auto& description : all_losses()) {
        const auto loss = build(description);
        const auto [pred, target] = random_batch(3, at::kDouble);
        const auto direction = at::randn_like(pred);
        const double h = 1e-6;
        const auto difference =
            ((*loss)(pred + h * direction, target) - (*loss)(pred - h * direction, target)).item<double>() / (2 * h);
        const auto slope = (gradient(*loss, pred, target) * direction).sum().item<double>();
        EXPECT_NEAR(slope, difference, 1e-6 * std::max(1.0, std::abs(difference))) << description;
    }
}

TEST(Loss, SlicesOfTheGridAddUpToTheWhole)
{
    using Bounds = std::vector<std::pair<int64_t, int64_t>>;
    for (const auto& description : all_losses()) {
        const auto loss = build(description);
        if (!loss->additive())
            continue;
        const auto batch = random_batch(3, at::kDouble);
        double sum = 0;
        const auto slopes = at::zeros_like(batch.pred);
        for (const auto& bounds : Bounds{{0, 5}, {5, 5}, {5, 30}, {30, kNodes}}) {
            const auto begin = bounds.first;
            const auto count = bounds.second - begin;
            const auto pred = batch.pred.narrow(3, begin, count);
            const auto target = batch.target.narrow(3, begin, count);
            const LossContext context{.grid = GridSlice{begin, begin + count}};
            sum += (*loss)(pred, target, context).item<double>();
            slopes.narrow(3, begin, count).copy_(gradient(*loss, pred, target, context));
        }
        const auto whole = (*loss)(batch.pred, batch.target).item<double>();
        EXPECT_NEAR(sum, whole, 1e-13 * std::abs(whole)) << description;
        EXPECT_TRUE(at::allclose(slopes, gradient(*loss, batch.pred, batch.target), 1e-12, 1e-15)) << description;
    }
}

TEST(Loss, SharesOfAGlobalBatchAddUp)
{
    const auto loss = build(plain("MSELoss"));
    const auto [pred, target] = random_batch(1, at::kDouble, 3);
    const LossContext share{.samples = 3.0};
    const auto first = (*loss)(pred.narrow(0, 0, 1), target.narrow(0, 0, 1), share);
    const auto rest = (*loss)(pred.narrow(0, 1, 2), target.narrow(0, 1, 2), share);
    EXPECT_NEAR((first + rest).item<double>(), (*loss)(pred, target).item<double>(), 1e-14);
}

TEST(Loss, WhatIsNoSumRefusesShares)
{
    const auto [pred, target] = random_batch(3, at::kDouble);
    for (const auto* name : {"RMSELoss", "EnergyScoreLoss"}) {
        const auto loss = build(plain(name));
        EXPECT_FALSE(loss->additive());
        EXPECT_THROW((void)(*loss)(pred, target, {.samples = 4.0}), ConfigError);
        const LossContext part{.grid = GridSlice{0, 5}};
        EXPECT_THROW((void)(*loss)(pred.narrow(3, 0, 5), target.narrow(3, 0, 5), part), ConfigError);
        EXPECT_NO_THROW((void)(*loss)(pred, target, {.grid = GridSlice{0, kNodes}, .samples = 2.0}));
    }
}

TEST(Loss, IgnoredNansCountNothingAndOthersPropagate)
{
    for (const auto* name : {"MSELoss", "LogCoshLoss", "CRPS"}) {
        const auto batch = random_batch(3, at::kDouble);
        const auto loss = build(plain(name, R"(, "ignore_nans": true)"));
        // Output column 2 is dataset column 3. A point whose members all equal the target has no error either.
        const auto agreeing = batch.pred.clone();
        agreeing.select(0, 1).select(0, 0).select(1, 4).select(1, 2).fill_(batch.target[1][0][0][4][3].item<double>());
        const auto holed = batch.target.clone();
        holed[1][0][0][4][3].fill_(kNaN);
        EXPECT_NEAR((*loss)(batch.pred, holed).item<double>(), (*loss)(agreeing, batch.target).item<double>(), 1e-14)
            << name;
        const auto slopes = gradient(*loss, batch.pred, holed);
        EXPECT_FALSE(at::isnan(slopes).any().item<bool>()) << name;
        EXPECT_EQ(slopes[1][0][0][4][2].item<double>(), 0.0) << name;
        EXPECT_TRUE(std::isnan((*build(plain(name)))(batch.pred, holed).item<double>())) << name;
    }
}

TEST(Loss, ImputedPointsAreMaskedOnlyWhereTheScalerIsUsed)
{
    const auto [pred, target] = random_batch(1, at::kDouble);
    const auto mask = at::ones({2, kNodes, 4}, at::kFloat);
    mask[0][3][1].fill_(0);
    const auto without = build(plain("MSELoss"));
    const auto with = build(R"({"_target_": "MSELoss", "scalers": ["*", "!tendency"]})");
    const auto agreeing = pred.clone();
    agreeing.select(0, 0).select(2, 3).select(2, 1).copy_(target.select(0, 0).select(2, 3).select(2, 2));
    const LossContext context{.nan_mask = mask};
    EXPECT_NEAR((*with)(pred, target, context).item<double>(), (*without)(agreeing, target).item<double>(), 1e-14);
    EXPECT_EQ((*without)(pred, target, context).item<double>(), (*without)(pred, target).item<double>());
    EXPECT_EQ(gradient(*with, pred, target, context)[0][1][0][3][1].item<double>(), 0.0);
}

TEST(Loss, ValuesByVariableAverageToTheLossAndFollowAPermutation)
{
    const auto loss = build(plain("MSELoss"));
    const auto [pred, target] = random_batch(1, at::kDouble);
    const auto by_variable = loss->per_variable(pred, target);
    EXPECT_NEAR(by_variable.mean().item<double>(), (*loss)(pred, target).item<double>(), 1e-14);
    const auto sum = (*loss)(pred, target, {.squash = Squash::Sum});
    EXPECT_NEAR(by_variable.sum().item<double>(), sum.item<double>(), 1e-13);
    const auto reversed =
        build(R"({"_target_": "MSELoss", "predicted_variables": ["d", "b", "a_850", "a_500"], )" + kFull + "}");
    EXPECT_TRUE(at::allclose(reversed->per_variable(pred, target), by_variable, 1e-13, 0));
}

TEST(Loss, SelectedVariablesOnlyAndAgainstOtherTargets)
{
    const auto [pred, target] = random_batch(1, at::kDouble);
    const auto loss = build(R"({"_target_": "MSELoss", "predicted_variables": ["b"], "target_variables": ["lon"]})");
    const auto expected = ((pred.select(4, 2) - target.select(4, 4)).square().sum() / 2).item<double>();
    EXPECT_NEAR((*loss)(pred, target).item<double>(), expected, 1e-12 * expected);
    const auto slopes = gradient(*loss, pred, target);
    for (const auto column : {0, 1, 3})
        EXPECT_EQ(slopes.select(4, column).abs().max().item<double>(), 0.0);
    const std::vector<std::vector<int64_t>> ranges = {{2, 3}, {0}, {0, 1, 2, 3}};
    const auto by_range = loss->by_range(pred, target, ranges);
    EXPECT_NEAR(by_range[0].item<double>(), expected, 1e-12 * expected);
    EXPECT_EQ(by_range[1].item<double>(), 0.0);
}

TEST(Loss, ScalersReachInnerLossesAsInTheOriginal)
{
    const auto [pred, target] = random_batch(1, at::kDouble);
    const auto value = [&](const std::string& description) {
        return (*build(description))(pred, target).item<double>();
    };
    const auto aggregate = [](const std::string& outer, const std::string& inner) {
        return R"({"_target_": "TimeAggregateLossWrapper", "time_aggregation_types": ["mean", "diff"])" + outer +
               R"(, "loss_fn": {"_target_": "MSELoss")" + inner + "}}";
    };
    const auto both = value(aggregate(R"(, "scalers": ["general"])", R"(, "scalers": ["nodes"])"));
    EXPECT_EQ(both, value(aggregate("", R"(, "scalers": ["nodes", "general"])")));
    EXPECT_NE(both, value(aggregate("", R"(, "scalers": ["nodes"])")));
    // Those of a combined loss reach parts without a list of their own, but no loss inside scales.
    const auto combined = [](const std::string& part) {
        return R"({"_target_": "CombinedLoss", "scalers": ["nodes"], "losses": [)" + part + "]}";
    };
    const std::string plain_mae = R"({"_target_": "MAELoss"})";
    EXPECT_EQ(value(combined(plain_mae)), value(R"({"_target_": "MAELoss", "scalers": ["nodes"]})"));
    EXPECT_EQ(value(combined(R"({"_target_": "MultiscaleLossWrapper", "per_scale_loss": )" + plain_mae + "}")),
              value(plain_mae));
}

TEST(Loss, TheNewestScoreHasADefaultOfItsOwn)
{
    const auto [pred, target] = random_batch(3, at::kDouble);
    const auto value = [&](const std::string& description) {
        return (*build(description))(pred, target).item<double>();
    };
    EXPECT_EQ(value(R"({"_target_": "CRPS"})"), value(R"({"_target_": "CRPS", "alpha": 0.95})"));
    EXPECT_EQ(value(R"({"_target_": "AlmostFairKernelCRPS"})"), value(R"({"_target_": "CRPS", "alpha": 1.0})"));
}

TEST(Loss, HalfPrecisionIsWidened)
{
    const auto loss = build(plain("MSELoss"));
    const auto [pred, target] = random_batch(1, at::kFloat);
    const auto half = pred.to(at::kBFloat16);
    const auto value = (*loss)(half, target);
    EXPECT_EQ(value.scalar_type(), at::kFloat);
    EXPECT_EQ(value.item<float>(), (*loss)(half.to(at::kFloat), target).item<float>());
}

TEST(Loss, ShapesThatDoNotFitAreRefused)
{
    const auto loss = build(plain("MSELoss"));
    const auto [pred, target] = random_batch(1, at::kFloat);
    EXPECT_THROW((void)(*loss)(pred.select(0, 0), target), ShapeError);
    EXPECT_THROW((void)(*loss)(pred, target.narrow(3, 0, 5)), ShapeError);
    EXPECT_THROW((void)(*loss)(pred.narrow(3, 0, 5), target.narrow(3, 0, 5)), ShapeError);
    const LossContext beyond{.grid = GridSlice{35, 40}};
    EXPECT_THROW((void)(*loss)(pred.narrow(3, 0, 5), target.narrow(3, 0, 5), beyond), ShapeError);
    EXPECT_THROW((void)(*build(plain("CRPS")))(pred, target), ShapeError);
}

struct Sums {
    at::Tensor value, slope;
};

Sums run_sums(const at::Tensor& pred, const std::function<at::Tensor(const at::Tensor&)>& sums)
{
    const auto x = pred.clone().requires_grad_(true);
    const auto value = sums(x);
    const auto seed = at::linspace(0.1, 1.0, value.numel(), at::kDouble);
    return {value.detach(), torch::autograd::grad({(value * seed).sum()}, {x}).front()};
}

TEST(ErrorSums, FusedKernelsEqualTorchOperations)
{
    using enum ErrorKind;
    for (const auto kind : {Squared, Absolute, Huber, LogCosh, Crps})
        for (const auto type : {at::kFloat, at::kDouble}) {
            at::manual_seed(3);
            const auto pred = at::randn({2, 2, 4, 1500, 7}, type);
            const auto target = at::randn({2, 2, 1, 1500, 9}, type);
            const ErrorSpec spec{kind, NanPolicy::Ignore, 0.8, 0.9, {0, 1, 2, 5, 4}, {1, 2, 3, 8, 0}};
            const ErrorWeights weights{
                at::rand({2}, at::kDouble), at::rand({1500}, at::kDouble), at::rand({2, 1500, 7}, type).round(), {}};
            const auto fused =
                run_sums(pred, [&](const at::Tensor& x) { return error_sums(x, target, spec, weights); });
            const auto expected =
                run_sums(pred, [&](const at::Tensor& x) { return detail::error_sums_torch(x, target, spec, weights); });
            const double tolerance = type == at::kFloat ? 2e-6 : 1e-13;
            const auto error = [](const at::Tensor& a, const at::Tensor& b) {
                return ((a - b).norm() / b.norm()).item<double>();
            };
            EXPECT_LE(error(fused.value, expected.value), tolerance) << int(kind);
            EXPECT_LE(error(fused.slope, expected.slope), tolerance) << int(kind);
        }
}

TEST(ErrorSums, BitsDoNotDependOnTheNumberOfThreads)
{
    const auto pred = at::randn({1, 1, 1, 5000, 4});
    const auto target = at::randn({1, 1, 1, 5000, 4});
    const ErrorSpec spec{.pred_columns = {0, 1, 2, 3}, .target_columns = {0, 1, 2, 3}};
    const ErrorWeights weights{at::ones({1}, at::kDouble), at::rand({5000}, at::kDouble), {}, {}};
    const auto threads = at::get_num_threads();
    at::set_num_threads(1);
    const auto one = error_sums(pred, target, spec, weights);
    at::set_num_threads(3);
    const auto three = error_sums(pred, target, spec, weights);
    at::set_num_threads(threads);
    EXPECT_TRUE(at::equal(one, three));
}

} // namespace
} // namespace gradwind::loss::test
