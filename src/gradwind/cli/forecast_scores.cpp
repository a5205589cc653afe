// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/cli/forecast_scores.h"

#include "gradwind/core/error.h"
#include "gradwind/data/windows.h"
#include "gradwind/train/ridge.h"

#include <algorithm>
#include <numeric>

namespace gradwind::cli
{

namespace
{

constexpr double kMostFitOperations = 2e12; ///< about a minute on two cores

std::vector<int64_t> leads_of(const ForecastCommand& command)
{
    if (command.leads.empty()) {
        std::vector<int64_t> all(static_cast<size_t>(command.steps));
        std::iota(all.begin(), all.end(), int64_t(1));
        return all;
    }
    for (const auto lead : command.leads)
        GRADWIND_CHECK(lead >= 1 && lead <= command.steps, ConfigError,
                       "[forecast] --leads {} lies outside 1 to {} (--steps)", lead, command.steps);
    return command.leads;
}

std::vector<int64_t> starts_of(const train::Forecaster& forecaster, const ForecastCommand& command)
{
    std::vector<int64_t> starts;
    for (const auto& date : command.dates)
        starts.push_back(forecaster.position_of(date));
    if (command.dates.empty())
        starts = forecaster.start_positions();
    GRADWIND_CHECK(!starts.empty(), DataError,
                   "[forecast] the test period holds no start with its inputs and one following date; widen "
                   "dataloader.test.datasets.{}.start and end",
                   forecaster.settings().dataset_names.front());
    return starts;
}

/// Fields of a date and of the time steps before it, newest first.
std::vector<std::vector<float>> history_of(const train::Forecaster& forecaster, size_t dataset,
                                           train::Forecaster::Period period, int64_t position, int64_t n_history)
{
    std::vector<std::vector<float>> history;
    for (int64_t i = 0; i < n_history; ++i)
        history.push_back(forecaster.analysis(dataset, position - i * forecaster.stride(), period));
    return history;
}

/// One regression for each lead time; none where it does not apply.
class Regressions
{
public:
    Regressions(const train::Forecaster& forecaster, size_t dataset, std::span<const int64_t> leads);
    [[nodiscard]] bool empty() const { return by_lead_.empty(); }
    [[nodiscard]] const train::RidgeRegression& of(size_t lead) const { return by_lead_[lead]; }
    /// The dates that a regression sees; the model sees no fewer.
    [[nodiscard]] int64_t n_history() const { return n_history_; }

private:
    int64_t n_history_;
    std::vector<train::RidgeRegression> by_lead_;
};

Regressions::Regressions(const train::Forecaster& forecaster, size_t index, std::span<const int64_t> leads)
    : n_history_(std::min<int64_t>(2, forecaster.settings().task.n_step_input))
{
    using Period = train::Forecaster::Period;
    const auto& part = forecaster.stage(Period::Training).parts()[index];
    const auto& dataset = *part.dataset;
    const auto squares = train::find_neighbourhoods(dataset.latitudes(), dataset.longitudes());
    if (!squares)
        return;
    std::vector<double> stdev;
    for (const auto column : forecaster.variables(index).data_output())
        stdev.push_back(dataset.statistics().stdev[size_t(column)]);
    // Checked before any regression is made: its sums take the square of this.
    const auto n_features = double(n_history_ * int64_t(stdev.size()) * squares->width + 1);
    std::vector<train::RidgeRegression> regressions;
    for (const auto lead : leads) {
        std::vector<int64_t> relative = {lead * forecaster.stride()};
        for (int64_t i = 0; i < n_history_; ++i)
            relative.push_back(-i * forecaster.stride());
        const auto anchors = data::valid_anchors(dataset, relative);
        const auto n_rows = double(anchors.size()) * double(squares->cells.size());
        if (n_rows < n_features || n_rows * n_features * n_features * double(leads.size()) > kMostFitOperations)
            return;
        auto& regression = regressions.emplace_back(*squares, stdev, n_history_);
        for (const auto own : anchors) {
            const auto anchor = own - part.shift; // analyses count in the first data set
            regression.add(history_of(forecaster, index, Period::Training, anchor, n_history_),
                           forecaster.analysis(index, anchor + relative.front(), Period::Training));
        }
        regression.fit();
    }
    by_lead_ = std::move(regressions);
}

/// Scores of one data set, forecast after forecast.
class Scorer
{
public:
    Scorer(const train::Forecaster& forecaster, size_t dataset, const std::vector<int64_t>& leads)
        : forecaster_(forecaster), dataset_(dataset), leads_(leads), cells_(forecaster.cells_that_count(dataset)),
          regressions_(forecaster, dataset, cells_.empty() ? leads : std::vector<int64_t>()), scores_(empty_scores())
    {
    }

    void add(const train::Forecast& forecast)
    {
        const auto start = forecast.anchor;
        const auto& steps = forecast.datasets[dataset_];
        const auto history =
            history_of(forecaster_, dataset_, train::Forecaster::Period::Test, start, regressions_.n_history());
        for (size_t l = 0; l < leads_.size() && leads_[l] <= int64_t(steps.size()); ++l) {
            const auto truth = forecaster_.analysis(dataset_, start + leads_[l] * forecaster_.stride());
            const auto& predicted = steps[size_t(leads_[l] - 1)];
            scores_.all_cells.add(0, l, predicted, truth, cells_);
            scores_.all_cells.add(1, l, history[0], truth, cells_);
            if (!scores_.interior)
                continue;
            const auto& regression = regressions_.of(l);
            scores_.interior->add(0, l, predicted, truth, regression.cells());
            scores_.interior->add(1, l, regression.forecast(history), truth, regression.cells());
            scores_.interior->add(2, l, history[0], truth, regression.cells());
        }
    }
    [[nodiscard]] DatasetScores take() { return std::move(scores_); }

private:
    [[nodiscard]] DatasetScores empty_scores() const
    {
        std::vector<int64_t> leads_s;
        for (const auto lead : leads_)
            leads_s.push_back(lead * forecaster_.settings().task.timestep_s);
        const auto names = forecaster_.variables(dataset_).output_names(), units = forecaster_.units(dataset_);
        const auto& own = forecaster_.datasets()[dataset_].name;
        const auto of_dataset = forecaster_.datasets().size() == 1 ? "" : fmt::format(" of `{}`", own);
        const auto sheet = [&](const std::string& cells, std::vector<std::string> methods) {
            return train::ScoreSheet(cells + of_dataset, std::move(methods), names, units, leads_s);
        };
        const auto n_cells = forecaster_.dataset(dataset_).n_cells();
        const auto which = cells_.empty()
                               ? fmt::format("all {} cells", n_cells)
                               : fmt::format("{} of {} cells, inside the output mask", cells_.size(), n_cells);
        DatasetScores scores{own, sheet(which, {"model", "persistence"}), std::nullopt, 0};
        if (!regressions_.empty()) {
            scores.interior.emplace(sheet(fmt::format("{} interior cells", regressions_.of(0).cells().size()),
                                          {"model", "ridge", "persistence"}));
            scores.n_training_dates = regressions_.of(0).n_dates();
        }
        return scores;
    }

    const train::Forecaster& forecaster_;
    size_t dataset_;
    const std::vector<int64_t>& leads_;
    std::vector<int64_t> cells_; ///< that count; empty: all
    Regressions regressions_;
    DatasetScores scores_;
};

} // namespace

ScoredForecasts score_forecasts(train::Forecaster& forecaster, const ForecastCommand& command)
{
    const auto leads = leads_of(command);
    const auto starts = starts_of(forecaster, command);
    std::vector<Scorer> scorers;
    for (const auto dataset : forecaster.predicted())
        scorers.emplace_back(forecaster, dataset, leads);
    ScoredForecasts result;
    for (const auto start : starts) {
        result.forecasts.push_back(forecaster.run(start, forecaster.available_steps(start, command.steps)));
        for (auto& scorer : scorers)
            scorer.add(result.forecasts.back());
    }
    for (auto& scorer : scorers)
        result.datasets.push_back(scorer.take());
    return result;
}

std::string compare_with_regression(const DatasetScores& scored)
{
    if (!scored.interior)
        return {};
    const auto& names = scored.interior->variables();
    std::vector<std::string> better;
    for (size_t v = 0; v < names.size(); ++v)
        if (scored.interior->rmse(1, 0, v) < scored.interior->rmse(0, 0, v))
            better.push_back(names[v]);
    return fmt::format("ridge: linear regression on 5 x 5 cells; with {} training dates it is better than the model "
                       "at the first lead time in {}\n",
                       scored.n_training_dates,
                       better.empty() ? "no variable" : fmt::format("{}", fmt::join(better, ", ")));
}

} // namespace gradwind::cli
