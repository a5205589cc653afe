// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/model/processors.h"

#include "gradwind/core/error.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <limits>

namespace gradwind::model
{
namespace
{

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// Forcing f, prognostic t and u, diagnostic r: every space has other columns.
struct World {
    VariableTable variables{{"t", "f", "u", "r"}, std::vector<std::string>{"f"}, std::vector<std::string>{"r"}};
    Statistics statistics{{10, 0, -2, 3}, {2, 1, 4, 6}, {0, -1, -10, 0}, {20, 1, 10, 30}};

    Processors build(const std::string& json)
    {
        return build_processors(Config::from_json(nlohmann::json::parse(json), "test.yaml"), {variables, statistics});
    }
};

const char* const kNormalizer = R"({"normalizer": {"_target_": "anemoi.models.preprocessing.normalizer.InputNormalizer",
    "config": {"default": "mean-std", "std": ["r"], "min-max": ["u"], "none": ["f"]}}})";

at::Tensor fields(int64_t variables, at::ScalarType type = at::kDouble)
{
    at::manual_seed(5);
    return at::rand({2, 3, 1, 6, variables}, type) + 0.5;
}

TEST(Processors, NormaliserUsesEachVariablesMethodInEverySpace)
{
    World world;
    const auto processors = world.build(kNormalizer);
    const auto raw = fields(4);
    const auto x = raw.clone();
    (void)processors.transform(x, Space::Dataset);
    EXPECT_TRUE(at::allclose(x.select(4, 0), (raw.select(4, 0) - 10) / 2, 1e-6, 1e-7));
    EXPECT_TRUE(at::equal(x.select(4, 1), raw.select(4, 1)));
    EXPECT_TRUE(at::allclose(x.select(4, 2), (raw.select(4, 2) + 10) / 20, 1e-6, 1e-7));
    EXPECT_TRUE(at::allclose(x.select(4, 3), raw.select(4, 3) / 6, 1e-6, 1e-7));
    const auto input = raw.index_select(4, at::tensor({0, 1, 2}));
    (void)processors.transform(input, Space::ModelInput);
    EXPECT_TRUE(at::equal(input, x.index_select(4, at::tensor({0, 1, 2}))));
    const auto output = x.index_select(4, at::tensor({0, 2, 3}));
    processors.inverse(output, Space::ModelOutput);
    EXPECT_TRUE(at::allclose(output, raw.index_select(4, at::tensor({0, 2, 3})), 1e-12, 1e-12));
}

TEST(Processors, ViewsAndContiguousTensorsGiveTheSameBits)
{
    World world;
    const auto processors = world.build(kNormalizer);
    for (const auto type : {at::kFloat, at::kDouble}) {
        const auto x = fields(4, type);
        const auto base = at::empty({4, 2, 3, 1, 6}, type);
        const auto view = base.permute({1, 2, 3, 4, 0});
        view.copy_(x);
        (void)processors.transform(x, Space::Dataset);
        (void)processors.transform(view, Space::Dataset);
        EXPECT_TRUE(at::allclose(view, x, 1e-6, 1e-7));
        processors.inverse(x, Space::Dataset);
        processors.inverse(view, Space::Dataset);
        EXPECT_TRUE(at::allclose(view, x, 1e-6, 1e-7));
    }
}

TEST(Processors, RemapWritesIntoTheStatisticsThatLaterStepsSee)
{
    World world;
    const auto processors = world.build(R"({
        "1-normalizer": {"_target_": "InputNormalizer", "config": {"default": "std", "remap": {"r": "t", "t": "u"}}},
        "2-imputer": {"_target_": "InputImputer", "config": {"mean": ["t"]}}})");
    EXPECT_EQ(world.statistics.stdev, (std::vector<double>{4, 1, 4, 2}));
    const auto x = at::full({1, 1, 1, 1, 4}, kNaN, at::kDouble);
    (void)processors.transform(x, Space::Dataset);
    EXPECT_EQ(x[0][0][0][0][0].item<double>(), -2);
}

TEST(Processors, ImputedPointsAreMaskedAndComeBack)
{
    World world;
    const auto processors = world.build(R"({
        "imputer": {"_target_": "ConstantImputer", "config": {"3.25": ["t", "f"]}},
        "normalizer": {"_target_": "InputNormalizer", "config": {"default": "std"}}})");
    const auto raw = fields(4);
    raw.select(4, 0).select(3, 2).fill_(kNaN); // t, cell 2, every time
    raw[1][2][0][4][0].fill_(kNaN);            // t, cell 4 of sample 1, last time only: filled, but not masked
    const auto x = raw.clone();
    const auto masks = processors.transform(x, Space::Dataset);
    EXPECT_FALSE(at::isnan(x).any().item<bool>());
    EXPECT_EQ(x[1][2][0][4][0].item<double>(), 3.25 / 2);
    ASSERT_EQ(masks.loss_mask.sizes().vec(), (std::vector<int64_t>{2, 6, 3}));
    const auto expected = at::ones({2, 6, 3});
    expected.select(2, 0).select(1, 2).fill_(0);
    EXPECT_TRUE(at::equal(masks.loss_mask, expected));
    processors.inverse(x, Space::Dataset, masks);
    EXPECT_TRUE(at::isnan(x.select(4, 0).select(3, 2)).all().item<bool>());
    EXPECT_EQ(x[1][2][0][4][0].item<double>(), 3.25);
    const auto output = at::ones({2, 1, 3, 6, 3}, at::kDouble); // three members
    processors.inverse(output, Space::ModelOutput, masks);
    EXPECT_EQ(at::isnan(output).sum().item<int64_t>(), 2 * 3);
    EXPECT_THROW(processors.inverse(output, Space::ModelOutput), InternalError);
    EXPECT_THROW(processors.inverse(output.narrow(3, 0, 5), Space::ModelOutput, masks), ShapeError);
}

TEST(Processors, CopyImputerTakesTheOtherVariableInEverySpace)
{
    World world;
    const auto processors = world.build(R"({"imputer": {"_target_": "CopyImputer", "config": {"u": ["t"]}}})");
    const auto raw = fields(4);
    raw[0][1][0][3][0].fill_(kNaN);
    const auto x = raw.clone();
    (void)processors.transform(x, Space::Dataset);
    EXPECT_EQ(x[0][1][0][3][0].item<double>(), raw[0][1][0][3][2].item<double>());
    const auto input = raw.index_select(4, at::tensor({0, 1, 2}));
    (void)processors.transform(input, Space::ModelInput);
    EXPECT_TRUE(at::equal(input, x.index_select(4, at::tensor({0, 1, 2}))));
}

TEST(Processors, RemappersComeBackInDouble)
{
    for (const auto* method : {"log1p", "sqrt", "boxcox", "atanh", "asinh", "power", "affine"}) {
        World world;
        const auto processors = world.build(fmt::format(
            R"({{"remapper": {{"_target_": "Remapper", "config": {{"{}": ["u"], "method_kwargs": {{"affine":
                {{"scale": 3, "shift": -1}}}}}}}}}})",
            method));
        const auto raw = fields(4) / 2;
        const auto x = raw.clone();
        (void)processors.transform(x, Space::Dataset);
        EXPECT_GT((x - raw).select(4, 2).abs().max().item<double>(), 1e-3) << method;
        processors.inverse(x, Space::Dataset);
        EXPECT_TRUE(at::allclose(x, raw, 1e-12, 1e-13)) << method;
    }
}

TEST(Processors, NanOfAFirstBatchIsNamed)
{
    const std::vector<std::string> names = {"t", "f", "u", "r"};
    const auto x = fields(4);
    EXPECT_NO_THROW(require_no_nan(x, names, "the first batch"));
    x[0][0][0][1][2].fill_(kNaN);
    x[0][0][0].select(1, 3).fill_(kNaN);
    try {
        require_no_nan(x, names, "the first batch");
        FAIL();
    } catch (const DataError& error) {
        EXPECT_STREQ(error.what(), "[processors] the first batch has NaN in u (1 of 36 values), r (6 of 36 values); "
                                   "impute these variables (ConstantImputer, InputImputer), or drop them");
    }
}

struct BadRow {
    const char* processors;
    const char* message;
};

class BadProcessors : public ::testing::TestWithParam<BadRow>
{
};

TEST_P(BadProcessors, SayWhatIsWrong)
{
    World world;
    world.statistics.stdev[2] = 0;
    world.statistics.maximum[0] = kNaN;
    try {
        const auto processors = world.build(GetParam().processors);
        (void)processors.transform(-fields(4), Space::Dataset);
        FAIL() << "accepted";
    } catch (const Error& error) {
        EXPECT_STREQ(error.what(), GetParam().message);
    }
}

INSTANTIATE_TEST_SUITE_P(
    Rows, BadProcessors,
    ::testing::Values(
        BadRow{R"({"n": {"_target_": "InputNormaliser"}})",
               "[processors] there is no processor `InputNormaliser` (did you mean `InputNormalizer`?) (key `n` "
               "(test.yaml))"},
        BadRow{R"({"n": {"_target_": "InputNormalizer", "confg": {}}})",
               "[processors] unknown key `confg` in key `n` (test.yaml) (did you mean `config`?)"},
        BadRow{R"({"n": {"_target_": "InputNormalizer", "config": {"default": "mean-std"}}})",
               "[processors] u cannot be normalised by `mean-std`: its standard deviation in the data set's statistics "
               "is 0; give it another method, such as `none` (key `n.config` (test.yaml))"},
        BadRow{R"({"n": {"_target_": "InputNormalizer", "config": {"max": ["t"]}}})",
               "[processors] t cannot be normalised by `max`: its maximum in the data set's statistics is nan; give it "
               "another method, such as `none` (key `n.config` (test.yaml))"},
        BadRow{R"({"n": {"_target_": "InputNormalizer", "config": {"mean_std": ["t"]}}})",
               "[processors] t is to be normalised by `mean_std`, expected one of mean-std, std, min-max, max, none "
               "(did you mean `mean-std`?) (key `n.config` (test.yaml))"},
        BadRow{R"({"n": {"_target_": "InputNormalizer", "config": {"std": ["temp"]}}})",
               "[processors] key `n.config.std` (test.yaml) names temp, which the data set does not have"},
        BadRow{R"({"n": {"_target_": "InputNormalizer", "config": {"std": ["t"], "none": ["t"]}}})",
               "[processors] t is listed twice in key `n.config` (test.yaml)"},
        BadRow{R"({"i": {"_target_": "InputImputer", "config": {"median": ["t"]}}})",
               "[processors] InputImputer fills with mean, stdev, minimum or maximum, not `median` (did you mean "
               "`mean`?) (key `i.config` (test.yaml))"},
        BadRow{R"({"i": {"_target_": "ConstantImputer", "config": {"zero": ["t"]}}})",
               "[processors] expected numbers as keys of key `i.config` (test.yaml), got `zero`"},
        BadRow{R"({"r": {"_target_": "Remapper", "config": {"sqrt": ["t"]}}})",
               "[processors] t has negative values, which `sqrt` cannot map; see clip_negative"},
        BadRow{R"({"r": {"_target_": "Remapper", "config": {"log2p": ["t"]}}})",
               "[processors] Remapper has no method `log2p` (did you mean `log1p`?) (key `r.config` (test.yaml))"},
        BadRow{R"({"p": {"_target_": "Postprocessor", "config": {"relu": ["f"]}}})",
               "[processors] f is no output of the model, so nothing can post-process it (key `p.config` "
               "(test.yaml))"}));

TEST(Processors, WrongWidthIsRefused)
{
    World world;
    const auto processors = world.build(kNormalizer);
    try {
        (void)processors.transform(fields(3), Space::Dataset);
        FAIL();
    } catch (const ShapeError& error) {
        EXPECT_STREQ(error.what(),
                     "[processors] expected [batch, time, ensemble, grid, 4] for the variables of the data "
                     "set, got [2, 3, 1, 6, 3]");
    }
}

} // namespace
} // namespace gradwind::model
