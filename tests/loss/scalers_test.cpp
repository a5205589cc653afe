// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "tests/loss/support.h"

namespace gradwind::loss::test
{
namespace
{

struct BadRow {
    const char* loss;
    const char* scalers; ///< merged over the test's own
    const char* message;
};

class BadLoss : public ::testing::TestWithParam<BadRow>
{
};

TEST_P(BadLoss, SaysWhatIsWrong)
{
    const auto& row = GetParam();
    auto scalers = nlohmann::json::parse(kScalers);
    scalers.merge_patch(nlohmann::json::parse(row.scalers));
    World world;
    world.tendency.stdev[2] = 0;
    try {
        (void)build_loss(config(row.loss), Config::from_json(scalers, "test.yaml"), config(kGroups), world.inputs());
        FAIL() << "accepted";
    } catch (const Error& error) {
        EXPECT_STREQ(error.what(), row.message);
    }
}

INSTANTIATE_TEST_SUITE_P(
    Rows, BadLoss,
    ::testing::Values(
        BadRow{R"({"_target_": "MSELos"})", "{}",
               "[loss] there is no loss `MSELos` (did you mean `MSELoss`?) (key `` (test.yaml))"},
        BadRow{R"({"_target_": "MSELoss", "scalers": ["node"]})", "{}",
               "[loss] key `` (test.yaml) lists the scaler `node`, which does not exist (did you mean `nodes`?)"},
        BadRow{R"({"_target_": "MSELoss", "scalers": ["*", "!levelz"]})", "{}",
               "[loss] key `` (test.yaml) lists the scaler `levelz`, which does not exist (did you mean `levels`?)"},
        BadRow{R"({"_target_": "MSELoss", "scalers": ["general"]})", "{}",
               "[loss] key `` (test.yaml) has scalers but none along the grid, whose errors are summed: add one such "
               "as `node_weights`"},
        BadRow{R"({"_target_": "MSELoss", "scalers": ["general", "nodes"]})",
               R"({"general": {"weights": {"a_850": 3}}})",
               "[loss] scaler `general` has a weight for a_850, but weights are by parameter: give one for a (key "
               "`general` (test.yaml))"},
        BadRow{R"({"_target_": "MSELoss", "scalers": ["nodes"]})",
               R"({"nodes": {"nodes_attribute_name": "cell_area"}})",
               "[loss] scaler `nodes` needs the node attribute `cell_area`, which the graph's data nodes do not have; "
               "add it under graph.nodes.<data>.attributes (key `nodes` (test.yaml))"},
        BadRow{R"({"_target_": "MSELoss", "scalers": ["nodes"]})", R"({"nodes": {"norm": "unit-max"}})",
               "[loss] scaler `nodes`: norm must be null, `unit-sum`, `l1` or `unit-mean`, got `unit-max` (key "
               "`nodes` (test.yaml))"},
        BadRow{R"({"_target_": "MSELoss", "scalers": ["nodes", "levels"]})", R"({"levels": {"group": "ml"}})",
               "[loss] scaler `levels` scales the group `ml`, which variable_groups does not define (key `levels` "
               "(test.yaml))"},
        BadRow{R"({"_target_": "MSELoss", "scalers": ["nodes", "levels"]})", R"({"levels": {"group": "sfc"}})",
               "[loss] scaler `levels` scales b by level, but it has none; take it out of the group `sfc`"},
        BadRow{R"({"_target_": "MSELoss", "scalers": ["nodes", "tendency"]})", "{}",
               "[loss] scaler `tendency` divides by the standard deviation of the tendency of a_850, which is 0"},
        BadRow{R"({"_target_": "MSELoss", "scalers": ["nodes", "tendency"]})", R"({"tendency": {"timestep": "24h"}})",
               "[loss] scaler `tendency` asks for tendency statistics of 1d, the data set has 6h (key `tendency` "
               "(test.yaml))"},
        BadRow{R"({"_target_": "MSELoss"})", R"({"steps": {"_target_": "UniformTimeScaler"}})",
               "[loss] scaler `steps`: there is no scaler `UniformTimeScaler` (did you mean `UniformTimeStepScaler`?) "
               "(key `steps` (test.yaml))"},
        BadRow{R"({"_target_": "MSELoss"})", R"({"levels": {"slop": 1}})",
               "[loss] unknown key `slop` in key `levels` (test.yaml) (did you mean `slope`?)"},
        BadRow{R"({"_target_": "MSELoss", "delta": 2})", "{}", "[loss] unknown key `delta` in key `` (test.yaml)"},
        BadRow{R"({"_target_": "MSELoss", "predicted_variables": ["lat"]})", "{}",
               "[loss] key `predicted_variables` (test.yaml) lists lat, which is no variable of the model's output"},
        BadRow{R"({"_target_": "MSELoss", "predicted_variables": ["b"], "target_variables": ["b", "d"]})", "{}",
               "[loss] predicted_variables (1) and target_variables (2) must have the same length, at least 1 (key `` "
               "(test.yaml))"},
        BadRow{R"({"_target_": "CombinedLoss", "losses": [{"_target_": "MSELoss"}], "loss_weights": [1, 2]})", "{}",
               "[loss] CombinedLoss has 1 losses but 2 loss_weights (key `` (test.yaml))"},
        BadRow{R"({"_target_": "HuberLoss", "delta": 0})", "{}",
               "[loss] delta of HuberLoss must be positive, got 0 (key `` (test.yaml))"},
        BadRow{R"({"_target_": "CRPS", "alpha": 1.5})", "{}",
               "[loss] alpha of the CRPS must be in [0, 1], got 1.5 (key `` (test.yaml))"},
        BadRow{R"({"_target_": "MultiscaleLossWrapper", "multiscale_config": {"num_scales": 3}, "weights": [1],
                   "per_scale_loss": {"_target_": "CRPS"}})",
               "{}",
               "[loss] key `multiscale_config` (test.yaml) lists no loss_matrices; smoothing matrices that are made "
               "from the graph are not available yet, so store them and name the files"},
        BadRow{R"({"_target_": "TimeAggregateLossWrapper", "time_aggregation_types": ["mean"], "scalers": ["nodes"],
                   "loss_fn": {"_target_": "MSELoss", "scalers": ["nodes"]}})",
               "{}",
               "[loss] key `loss_fn` (test.yaml) and the loss around it both list the scaler `nodes`; keep one"}));

at::Tensor values_of(const char* name, const LossInputs& inputs, const char* scalers = kScalers)
{
    return ScalerSet(config(scalers), VariableGroups(config(kGroups)), inputs).get(name).values;
}

TEST(Scalers, TendencyScalerWithoutStatisticsNamesWhatIsMissing)
{
    const World world;
    auto inputs = world.inputs();
    inputs.tendencies.clear();
    try {
        (void)values_of("tendency", inputs);
        FAIL();
    } catch (const ConfigError& error) {
        EXPECT_STREQ(error.what(), "[loss] scaler `tendency` needs tendency statistics, which the data set does not "
                                   "have (key `tendency` (test.yaml))");
    }
}

TEST(Scalers, TendencyScalerLeavesOutDatasetIndexZeroAsTheOriginal)
{
    const World world;
    EXPECT_TRUE(at::equal(values_of("tendency", world.inputs()), at::tensor({1.0f, 2.0f, 8.0f, 1.0f})));
}

TEST(Scalers, NodeWeightsObeyTheOutputMaskBeforeTheyAreNormalised)
{
    const World world;
    auto inputs = world.inputs();
    inputs.output_mask = at::arange(kNodes) < 10;
    const auto values = values_of("nodes", inputs);
    EXPECT_EQ(values.narrow(0, 10, kNodes - 10).abs().max().item<float>(), 0.0f);
    EXPECT_NEAR(values.sum().item<float>(), 1.0, 1e-6);
}

TEST(Scalers, ReweightedNodesHoldTheirFractionOfTheSum)
{
    const World world;
    auto inputs = world.inputs();
    const auto mask = at::arange(kNodes) < 4;
    inputs.node_attribute = [&](const std::string& name) { return name == "area" ? world.area : mask; };
    const auto values = values_of("nodes", inputs, R"({"nodes": {"_target_": "ReweightedGraphNodeAttributeScaler",
        "norm": "unit-sum", "nodes_attribute_name": "area", "scaling_mask_attribute_name": "lam",
        "weight_frac_of_total": 0.25}})");
    EXPECT_NEAR(values.narrow(0, 0, 4).sum().item<float>(), 0.25, 1e-6);
    EXPECT_EQ(values[0].item<float>(), values[3].item<float>());
}

TEST(Scalers, MaskedVariablesWeighNothing)
{
    const World world;
    const auto values = [&](const char* invert) {
        const auto scalers = fmt::format(R"({{"keep": {{"_target_": "VariableMaskingLossScaler", "variables": ["a"],
            "invert": {}}}}})",
                                         invert);
        return values_of("keep", world.inputs(), scalers.c_str());
    };
    EXPECT_TRUE(at::equal(values("false"), at::tensor({0.0f, 0.0f, 1.0f, 1.0f})));
    EXPECT_TRUE(at::equal(values("true"), at::tensor({1.0f, 1.0f, 0.0f, 0.0f})));
}

TEST(VariableGroups, MetadataDecidesWhereItIsConsistentElseTheName)
{
    const auto metadata = nlohmann::json::parse(R"({
        "temp": {"mars": {"param": "t", "levtype": "pl", "levelist": 500}},
        "z_1": {"mars": {"param": "z", "levtype": "sfc"}},
        "w_10": {"mars": {"param": "w", "levtype": "pl"}}})");
    const VariableGroups groups(
        config(R"({"default": "sfc", "pl": {"is_pressure_level": [true], "param": ["t", "w"]}})"), metadata);
    const auto temp = groups.place("temp");
    EXPECT_EQ(temp.group, "pl");
    EXPECT_EQ(temp.param, "t");
    EXPECT_EQ(temp.level, 500);
    const auto z = groups.place("z_1"); // at the surface: the digits are no level
    EXPECT_EQ(z.group, "sfc");
    EXPECT_EQ(z.param, "z");
    EXPECT_FALSE(z.level);
    EXPECT_EQ(groups.place("w_10").level, 10); // a pressure level without a level: not trusted
    EXPECT_THROW((void)groups.place("unknown"), ConfigError);
}

} // namespace
} // namespace gradwind::loss::test
