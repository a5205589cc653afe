// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// One model trained on several data sets: same dates, losses that add up, forecasts of each.
#include "gradwind/core/config_loader.h"
#include "gradwind/core/error.h"
#include "gradwind/loss/loss.h"
#include "gradwind/ops/tensor_io.h"
#include "gradwind/train/batch_feeder.h"
#include "gradwind/train/checkpoint.h"
#include "gradwind/train/forecast.h"
#include "gradwind/train/stage.h"
#include "tests/train/tiny_training.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>

namespace gradwind::train
{
namespace
{

void expect_says(const std::string& text, const std::string& part)
{
    EXPECT_NE(text.find(part), std::string::npos) << "expected: " << part << "\nfound: " << text;
}

class SeveralDatasets : public ::testing::Test
{
protected:
    [[nodiscard]] Config config(std::vector<std::string> overrides) const
    {
        overrides.push_back("system.input.dataset=" + training_.run_dir("tiny.zarr").string());
        return load_config({.file = training_.config_file("tiny_two"), .overrides = overrides});
    }
    /// @return the run folder
    std::filesystem::path train(const std::string& name, const std::vector<std::string>& overrides) const
    {
        NoProgress progress;
        const auto run_dir = training_.run_dir(name);
        (void)run_training(config(overrides), parallel::resolve_environment({}),
                           {.run_dir = run_dir, .resume = std::nullopt, .reference = std::nullopt}, progress);
        return run_dir;
    }
    /// What a training is refused with; empty if it is not.
    [[nodiscard]] std::string refusal(const std::vector<std::string>& overrides) const
    {
        auto all = overrides;
        all.emplace_back("training.max_steps=1");
        try {
            (void)train("refused", all);
        } catch (const ConfigError& error) {
            return error.what();
        }
        return {};
    }

    TinyTraining training_;
};

TEST_F(SeveralDatasets, BothLearnAndTheirLossesAddUp)
{
    const auto run = train("learn", {"training.max_steps=90", "training.optimization.lr=1e-2"});
    const auto rows = rows_of(run, "validation");
    ASSERT_EQ(rows.size(), 30u) << "30 samples, 12 in a step: 3 steps an epoch";
    for (const auto& row : rows) {
        const double sum = row["val_data_lossvariablemapper_loss"].get<double>() +
                           row["val_other_lossvariablemapper_loss"].get<double>();
        EXPECT_NEAR(row["val_multi_dataset_loss"].get<double>(), sum, 1e-6 * sum);
    }
    for (const char* name :
         {"val_data_lossvariablemapper_loss", "val_other_lossvariablemapper_loss", "val_data_mse_metric/data/pl_q/1",
          "val_other_mse_metric/other/pl_v/1", "val_other_mse_metric/other/z_850/1", "val_other_rmse/v_850/1"})
        EXPECT_LT(rows.back()[name].get<double>(), 0.8 * rows.front()[name].get<double>()) << name;
    EXPECT_TRUE(rows.back().contains("val_other_rmse_persistence/v_850/1"));
    EXPECT_FALSE(rows.back().contains("val_other_rmse_persistence/z_850/1")) << "a diagnostic variable has no analysis";
}

/// The initial network's outputs for both data sets at a date, worked out with tensors of its own.
class ByHand
{
public:
    explicit ByHand(const Forecaster& forecaster) : forecaster_(forecaster)
    {
        std::vector<std::string> notes;
        model_ = make_model(forecaster.config(), forecaster.settings(), obtain_graph(forecaster.config(), notes),
                            for_model(forecaster.datasets()));
        model::load_state(*model_, ops::read_tensors(Checkpoint::open(forecaster.checkpoint()).weights));
    }
    /// What the configuration subtracts from a variable, and then divides it by.
    [[nodiscard]] static std::pair<double, double> scale(const std::string& name, const Statistics& s, size_t i)
    {
        if (name == "z_850")
            return {s.minimum[i], s.maximum[i] - s.minimum[i]};
        return {s.mean[i], s.stdev[i]};
    }
    /// One date of a data set as it is stored, [cells, variables], found by its time.
    [[nodiscard]] at::Tensor stored(const data::Dataset& dataset, int64_t seconds) const
    {
        const auto found = std::find(dataset.dates().begin(), dataset.dates().end(), seconds);
        auto fields = at::empty({dataset.n_cells(), dataset.n_variables()});
        dataset.read(std::array{int64_t(found - dataset.dates().begin())}, {0, dataset.n_cells()},
                     {fields.data_ptr<float>(), size_t(fields.numel())});
        return fields.to(at::kDouble);
    }
    /// A forecast of one step from a date, physical, [cells, outputs].
    [[nodiscard]] at::Tensor forecast(size_t wanted, int64_t seconds) const
    {
        const at::NoGradGuard no_grad;
        constexpr int64_t step_s = 6 * 3600;
        model::Fields x;
        for (size_t d = 0; d < 2; ++d) {
            const auto& dataset = forecaster_.dataset(d);
            auto fields = at::stack({stored(dataset, seconds - step_s), stored(dataset, seconds)});
            for (int64_t v = 0; v < dataset.n_variables(); ++v) {
                const auto [mean, stdev] = scale(dataset.variables()[size_t(v)], dataset.statistics(), size_t(v));
                fields.select(-1, v).sub_(mean).div_(stdev);
            }
            const auto& table = forecaster_.variables(d);
            x[forecaster_.datasets()[d].name] = fields.index_select(-1, at::tensor(table.data_input()))
                                                    .view({1, 2, 1, dataset.n_cells(), table.n_input()})
                                                    .to(at::kFloat);
        }
        const auto& own = forecaster_.datasets()[wanted];
        auto y = model_->forward_all(x).at(own.name)[0][0][0].to(at::kDouble);
        const auto& statistics = forecaster_.dataset(wanted).statistics();
        for (int64_t i = 0; i < own.variables.n_output(); ++i) {
            const auto column = size_t(own.variables.data_output()[size_t(i)]);
            const auto [mean, stdev] = scale(own.variables.names()[column], statistics, column);
            y.select(-1, i).mul_(stdev).add_(mean);
        }
        return y;
    }

private:
    const Forecaster& forecaster_;
    std::shared_ptr<model::SeveralDatasetsModel> model_;
};

TEST_F(SeveralDatasets, ForecastsAreThoseOfTheModelAtTheSameDates)
{
    const auto run = train("forecast", {"training.max_steps=3", "dataloader.test.datasets.data.start=2000-01-08",
                                        "dataloader.test.datasets.data.end=2000-01-09T18:00:00"});
    Forecaster forecaster(run, {});
    ASSERT_EQ(forecaster.predicted(), (std::vector<size_t>{0, 1}));
    EXPECT_EQ(forecaster.start_positions(), (std::vector<int64_t>{1, 2, 3, 4, 5, 6}));
    const int64_t anchor = 3;
    const auto seconds = forecaster.dataset(0).dates()[anchor];
    const auto forecast = forecaster.run(anchor, 2);
    const ByHand by_hand(forecaster);
    for (size_t d = 0; d < 2; ++d) {
        SCOPED_TRACE(forecaster.datasets()[d].name);
        ASSERT_EQ(forecast.datasets[d].size(), 2u);
        const auto expected = by_hand.forecast(d, seconds).flatten();
        const auto found = at::tensor(forecast.datasets[d][0]).to(at::kDouble);
        ASSERT_EQ(found.numel(), expected.numel());
        EXPECT_LT(((found - expected).norm() / expected.norm()).item<double>(), 1e-5);
        EXPECT_NE(forecast.datasets[d][1], forecast.datasets[d][0]);
        // The analysis of both is of the date, although it stands elsewhere in the second.
        const auto truth = by_hand.stored(forecaster.dataset(d), seconds)
                               .index_select(-1, at::tensor(forecaster.variables(d).data_output()));
        EXPECT_TRUE(at::equal(at::tensor(forecaster.analysis(d, anchor)), truth.to(at::kFloat).flatten()));
    }
    EXPECT_EQ(forecaster.available_steps(5, 4), 2);
}

TEST_F(SeveralDatasets, ADataSetMayBeReadOnly)
{
    const std::vector<std::string> read_only = {"~model.decoders.1", "~training.training_loss.datasets.other"};
    auto overrides = read_only;
    overrides.emplace_back("training.max_steps=3");
    const auto run = train("read_only", overrides);
    const auto rows = rows_of(run, "validation");
    ASSERT_EQ(rows.size(), 1u);
    EXPECT_FALSE(rows[0].contains("val_other_lossvariablemapper_loss"));
    EXPECT_EQ(rows[0]["val_multi_dataset_loss"], rows[0]["val_data_lossvariablemapper_loss"]);
    Forecaster forecaster(run, {"dataloader.test.datasets.data.start=2000-01-08"});
    EXPECT_EQ(forecaster.predicted(), std::vector<size_t>{0});
    const auto forecast = forecaster.run(3, 1);
    EXPECT_EQ(forecast.datasets[0].size(), 1u);
    EXPECT_TRUE(forecast.datasets[1].empty());
    EXPECT_THROW((void)forecaster.run(3, 2), ConfigError) << "what is not predicted cannot be read again";

    overrides = read_only;
    overrides.emplace_back("task.rollout={start: 2, epoch_increment: 0, maximum: 2}");
    expect_says(refusal(overrides), "a rollout of more than one step needs predictions of every data set");
    expect_says(refusal({"~model.decoders.1"}), "no decoder of the model predicts this data set");
    expect_says(refusal({"~training.training_loss.datasets.other"}), "its decoder would not be trained");
}

TEST_F(SeveralDatasets, WhatCannotBeTrainedIsRefusedByName)
{
    expect_says(refusal({"dataloader.training.datasets.other.dataset_config={dataset: '${system.input.dataset_b}', "
                         "frequency: 12h}"}),
                "`data.frequency` for key `dataloader.training.datasets.other`");
    expect_says(refusal({"data.frequency=null", "dataloader.training.datasets.other.dataset_config={dataset: "
                                                "'${system.input.dataset_b}', frequency: 12h}"}),
                "found 6h for `data` and 12h for `other`");
    expect_says(refusal({"dataloader.training.datasets.other.start=2000-01-11"}),
                "expected dates that all data sets of dataloader.training.datasets have");
    expect_says(refusal({"~graph.nodes.other", "graph.edges=[]"}), "expected nodes `other` in the graph");
    expect_says(refusal({"~training.training_loss.datasets.other",
                         "+training.training_loss.datasets.othre={_target_: MSELoss, scalers: [node_weights]}"}),
                "did you mean `other`");
    expect_says(refusal({"~training.training_loss.datasets"}), "training.training_loss");
    expect_says(refusal({"~training.scalers.datasets.other"}), "training.scalers.datasets");
    expect_says(refusal({"~dataloader.validation.datasets.other"}), "dataloader.validation.datasets.other");
    EXPECT_EQ(refusal({}), "");
}

TEST_F(SeveralDatasets, PatchesAreChosenOnlyWhereEachHasNodesOfAllDataSets)
{
    const auto chosen = [&](std::vector<std::string> overrides) {
        overrides.emplace_back("training.strategy.partition=auto");
        const auto own = config(overrides);
        std::vector<std::string> notes;
        return partition_kind(own, obtain_graph(own, notes), 4);
    };
    EXPECT_EQ(chosen({}), parallel::PartitionKind::Bisection);
    EXPECT_EQ(
        chosen(
            {"graph.nodes.other.node_builder.dataset={dataset: '${system.input.dataset_b}', area: [80, -60, 40, 0]}"}),
        parallel::PartitionKind::Contiguous);
}

/// Dates of a data set of one cell and one variable, which is the hour.
class Dates : public data::Dataset
{
public:
    Dates(int64_t first_s, int64_t n, int64_t frequency_s, std::vector<int64_t> missing = {})
        : Dataset(description(first_s, n, frequency_s, missing))
    {
    }
    void read_dates(std::span<const int64_t> positions, data::CellRange, std::span<float* const> out) const override
    {
        for (size_t i = 0; i < positions.size(); ++i)
            *out[i] = float(dates()[size_t(positions[i])]) / 3600;
    }

private:
    static data::DatasetInfo description(int64_t first_s, int64_t n, int64_t frequency_s,
                                         const std::vector<int64_t>& missing)
    {
        data::DatasetInfo info;
        info.variables = {"hour"};
        info.latitudes = info.longitudes = {0};
        info.frequency_s = frequency_s;
        for (int64_t i = 0; i < n; ++i)
            info.dates.push_back(first_s + i * frequency_s);
        info.missing.assign(size_t(n), 0);
        for (const auto position : missing)
            info.missing[size_t(position)] = 1;
        return info;
    }
};

Stage stage_of(const std::shared_ptr<Dates>& a, const std::shared_ptr<Dates>& b)
{
    return {"training", {{.name = "a", .dataset = a}, {.name = "b", .dataset = b}}};
}

TEST(Stage, SamplesAreTheDatesThatAllDataSetsHave)
{
    constexpr int64_t hour = 3600;
    const std::vector<int64_t> window = {-1, 0, 1};
    // b begins two dates later; its third date, a's fifth, is missing.
    const auto stage = stage_of(std::make_shared<Dates>(0, 12, hour, std::vector<int64_t>{8}),
                                std::make_shared<Dates>(2 * hour, 30, hour, std::vector<int64_t>{2}));
    EXPECT_EQ(stage.parts()[1].shift, -2);
    EXPECT_EQ(stage.anchors(window), (std::vector<int64_t>{6, 10}));
    const auto earlier = stage_of(std::make_shared<Dates>(2 * hour, 3, hour), std::make_shared<Dates>(0, 30, hour));
    EXPECT_EQ(earlier.parts()[1].shift, 2);
    EXPECT_EQ(earlier.anchors(window), std::vector<int64_t>{1});
}

TEST(Stage, BatchesHoldTheSameDatesOfAllDataSets)
{
    constexpr int64_t hour = 3600;
    const auto stage = stage_of(std::make_shared<Dates>(5 * hour, 20, hour), std::make_shared<Dates>(0, 30, hour));
    BatchFeeder feeder(stage, {{3, 7}, {12}}, {.n_threads = 3, .relative_indices = {-1, 0, 1}});
    for (const auto& hours : {std::vector<float>{7, 8, 9, 11, 12, 13}, {16, 17, 18}}) {
        const auto batch = feeder.next();
        ASSERT_EQ(batch.values.size(), 2u);
        for (const auto& values : batch.values)
            EXPECT_TRUE(at::equal(values.flatten(), at::tensor(hours))) << values;
        EXPECT_EQ(batch.anchors.front() + 5, int64_t(hours[1])) << "positions count in the first data set";
    }
}

TEST(Stage, ListsTheSamplesOfSeveralDataSetsInTheOriginalsOrder)
{
    // numpy.intersect1d of (sequence, position) rows seen as bytes: the lowest byte of a position counts first.
    const auto both = std::make_shared<Dates>(0, 600, 3600);
    const auto anchors = stage_of(both, both).anchors(std::vector<int64_t>{0});
    ASSERT_EQ(anchors.size(), 600u);
    EXPECT_EQ(std::vector<int64_t>(anchors.begin(), anchors.begin() + 6),
              (std::vector<int64_t>{0, 256, 512, 1, 257, 513}));
    EXPECT_EQ(anchors.back(), 511);
    const Stage one("training", {{.name = "a", .dataset = both}});
    EXPECT_EQ(one.anchors(std::vector<int64_t>{0})[1], 1) << "one data set is not intersected";
}

TEST(Stage, RefusesDatesThatNeverMeet)
{
    const auto a = std::make_shared<Dates>(0, 10, 6 * 3600);
    const auto error_of = [&](const std::shared_ptr<Dates>& b) -> std::string {
        try {
            (void)stage_of(a, b).anchors(std::vector<int64_t>{0, 1});
        } catch (const ConfigError& error) {
            return error.what();
        }
        return {};
    };
    expect_says(error_of(std::make_shared<Dates>(0, 10, 3600)), "found 6h for `a` and 1h for `b`");
    expect_says(error_of(std::make_shared<Dates>(3600, 10, 6 * 3600)), "have no date in common");
    expect_says(error_of(std::make_shared<Dates>(9 * 6 * 3600, 10, 6 * 3600)), "2 for a sample, found none");
    EXPECT_EQ(error_of(std::make_shared<Dates>(8 * 6 * 3600, 10, 6 * 3600)), "");
}

} // namespace
} // namespace gradwind::train
