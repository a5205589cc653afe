// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/forecast.h"

#include "gradwind/core/config_loader.h"
#include "gradwind/core/error.h"
#include "gradwind/model/rollout.h"
#include "gradwind/ops/tensor_io.h"
#include "gradwind/train/checkpoint.h"
#include "gradwind/train/setup.h"
#include "tests/train/tiny_training.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace gradwind::train
{
namespace
{

/// A trained run of two steps, and what is needed to follow a forecast by hand.
class ForecastTest : public ::testing::Test
{
protected:
    /// @param overrides  of the training @return the run folder
    std::filesystem::path train(const std::string& name, std::vector<std::string> overrides) const
    {
        overrides.insert(overrides.end(), {"system.input.dataset=" + training_.run_dir("tiny.zarr").string(),
                                           "training.max_steps=2", "dataloader.test.datasets.data.start=2000-01-08",
                                           "dataloader.test.datasets.data.end=2000-01-09T18:00:00"});
        const auto config = load_config({.file = training_.config_file(), .overrides = overrides});
        NoProgress progress;
        const auto run_dir = training_.run_dir(name);
        (void)run_training(config, parallel::resolve_environment({}),
                           {.run_dir = run_dir, .resume = std::nullopt, .reference = std::nullopt}, progress);
        return run_dir;
    }

    TinyTraining training_;
};

/// The forecast in the long way: normalise, call, de-normalise, with tensors of its own.
class ByHand
{
public:
    explicit ByHand(const Forecaster& forecaster) : forecaster_(forecaster)
    {
        const auto& config = forecaster.config();
        std::vector<std::string> notes;
        const auto& statistics = forecaster.stage(Forecaster::Period::Training).first().statistics();
        model_ =
            make_model(config, forecaster.settings(), obtain_graph(config, notes), for_model(forecaster.datasets()));
        model::load_state(*model_, ops::read_tensors(Checkpoint::open(forecaster.checkpoint()).weights));
        mean_ = at::tensor(statistics.mean, at::kDouble);
        stdev_ = at::tensor(statistics.stdev, at::kDouble);
    }

    /// Normalised dates [1, n, 1, cells, variables].
    [[nodiscard]] at::Tensor dates(int64_t first, int64_t n) const
    {
        const auto& dataset = forecaster_.dataset(0);
        auto all = at::empty({1, n, 1, dataset.n_cells(), dataset.n_variables()});
        std::vector<int64_t> positions;
        for (int64_t i = 0; i < n; ++i)
            positions.push_back(first + i);
        dataset.read(positions, {0, dataset.n_cells()}, {all.data_ptr<float>(), size_t(all.numel())});
        return ((all.to(at::kDouble) - mean_) / stdev_).to(at::kFloat);
    }
    [[nodiscard]] at::Tensor call(const at::Tensor& x) const
    {
        const at::NoGradGuard no_grad;
        return model_->forward(x);
    }
    /// Of one time of a prediction, physical.
    [[nodiscard]] at::Tensor physical(const at::Tensor& y, int64_t time) const
    {
        const auto columns = at::tensor(forecaster_.variables(0).data_output());
        return (y[0][time][0].to(at::kDouble) * stdev_.index_select(0, columns) + mean_.index_select(0, columns))
            .flatten();
    }

private:
    const Forecaster& forecaster_;
    std::shared_ptr<model::ForecastModel> model_;
    at::Tensor mean_, stdev_;
};

void expect_close(const std::vector<float>& found, const at::Tensor& expected)
{
    ASSERT_EQ(int64_t(found.size()), expected.numel());
    const auto values = at::tensor(found).to(at::kDouble);
    EXPECT_LT(((values - expected).norm() / expected.norm()).item<double>(), 1e-5);
}

TEST_F(ForecastTest, OneStepIsTheModelAndTwoFeedItBack)
{
    Forecaster forecaster(train("one", {}), {});
    const ByHand by_hand(forecaster);
    const int64_t anchor = 3;
    const auto forecast = forecaster.run(anchor, 2);
    ASSERT_EQ(forecast.datasets[0].size(), 2U);
    const auto batch = by_hand.dates(anchor - 1, 4);
    const auto& variables = forecaster.variables(0);
    auto x = batch.narrow(1, 0, 2).index_select(4, at::tensor(variables.data_input()));
    const auto first = by_hand.call(x);
    expect_close(forecast.datasets[0][0], by_hand.physical(first, 0));
    // The newest input becomes the prediction, with the forcings of its date.
    auto newest = batch.narrow(1, 2, 1).index_select(4, at::tensor(variables.data_input())).clone();
    for (size_t i = 0; i < variables.model_input_prognostic().size(); ++i)
        newest.select(4, variables.model_input_prognostic()[i])
            .copy_(first.select(4, variables.model_output_prognostic()[i]));
    x = at::cat({x.narrow(1, 1, 1), newest}, 1);
    expect_close(forecast.datasets[0][1], by_hand.physical(by_hand.call(x), 0));
    EXPECT_EQ(forecaster.run(anchor, 1).datasets[0][0], forecast.datasets[0][0]);
}

TEST_F(ForecastTest, SeveralStepsOfOneCall)
{
    Forecaster forecaster(train("pairs", {"task.multistep_output=2"}), {});
    const ByHand by_hand(forecaster);
    const auto forecast = forecaster.run(2, 3);
    ASSERT_EQ(forecast.datasets[0].size(), 3U) << "the second call's second step was not asked for";
    const auto& variables = forecaster.variables(0);
    const auto batch = by_hand.dates(1, 4);
    const auto x = model::first_input(batch, 2, variables);
    const auto first = by_hand.call(x);
    expect_close(forecast.datasets[0][0], by_hand.physical(first, 0));
    expect_close(forecast.datasets[0][1], by_hand.physical(first, 1));
    const auto second = by_hand.call(model::advance_input(x, first, batch, 0, variables));
    expect_close(forecast.datasets[0][2], by_hand.physical(second, 0));
    // The last dates of the period: every call needs the forcings of the steps before it only.
    const auto last = forecaster.dataset(0).n_dates() - 1;
    EXPECT_EQ(forecaster.start_positions().back(), last - 1);
    EXPECT_EQ(forecaster.run(last - 1, 1).datasets[0].size(), 1U);
    EXPECT_EQ(forecaster.run(last - 3, 3).datasets[0].size(), 3U);
}

TEST_F(ForecastTest, PositionsAndMissingDates)
{
    // 8 dates from 2000-01-08 on; the sixth is declared missing below.
    const auto run = train("dates", {});
    const Forecaster whole(run, {});
    EXPECT_EQ(whole.dataset(0).n_dates(), 8);
    EXPECT_EQ(whole.start_positions(), (std::vector<int64_t>{1, 2, 3, 4, 5, 6}));
    EXPECT_EQ(whole.available_steps(1, 4), 4);
    EXPECT_EQ(whole.available_steps(5, 4), 2);
    EXPECT_EQ(whole.position_of("2000-01-08T06:00:00"), 1);
    EXPECT_EQ(whole.stage(Forecaster::Period::Training).first().n_dates(), 40);
    EXPECT_EQ(whole.analysis(0, 0), whole.analysis(0, 28, Forecaster::Period::Training));
    for (const auto* date : {"2000-01-08T00:00:00", "2000-01-09T18:00:00", "2000-01-01T00:00:00"}) {
        try {
            (void)whole.position_of(date);
            FAIL() << date;
        } catch (const ConfigError& error) {
            EXPECT_NE(std::string(error.what()).find("2000-01-08T06:00:00 to 2000-01-09T12:00:00"), std::string::npos)
                << error.what();
        }
    }
    Forecaster torn(run, {"+dataloader.test.datasets.data.dataset_config.set_missing_dates=['2000-01-09T06:00:00']"});
    EXPECT_EQ(torn.start_positions(), (std::vector<int64_t>{1, 2, 3}));
    EXPECT_EQ(torn.available_steps(1, 4), 3);
    EXPECT_EQ(torn.available_steps(3, 4), 1);
    EXPECT_THROW((void)torn.position_of("2000-01-09T00:00:00"), ConfigError);
    EXPECT_THROW((void)torn.run(3, 2), DataError);
}

TEST_F(ForecastTest, RunsThatAreNotThere)
{
    EXPECT_THROW(Forecaster(training_.run_dir("absent"), {}), CheckpointError);
    EXPECT_THROW(Forecaster(training_.run_dir("tiny.zarr"), {}), CheckpointError);
}

TEST_F(ForecastTest, TheDataSetMayMove)
{
    const auto run = train("moved", {});
    const auto from = training_.run_dir("tiny.zarr"), to = training_.run_dir("elsewhere.zarr");
    const auto before = Forecaster(run, {}).run(1, 1);
    std::filesystem::rename(from, to);
    EXPECT_THROW(Forecaster(run, {}), Error);
    EXPECT_EQ(Forecaster(run, {"system.input.dataset=" + to.string()}).run(1, 1).datasets, before.datasets);
}

} // namespace
} // namespace gradwind::train
