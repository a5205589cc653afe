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
                   forecaster.settings().dataset_name);
    return starts;
}

/// Fields of a date and of the time steps before it, newest first.
std::vector<std::vector<float>> history_of(const train::Forecaster& forecaster, train::Forecaster::Period period,
                                           int64_t position, int64_t n_history)
{
    std::vector<std::vector<float>> history;
    for (int64_t i = 0; i < n_history; ++i)
        history.push_back(forecaster.analysis(position - i * forecaster.stride(), period));
    return history;
}

/// One regression for each lead time; none where it does not apply.
class Regressions
{
public:
    Regressions(const train::Forecaster& forecaster, std::span<const int64_t> leads);
    [[nodiscard]] bool empty() const { return by_lead_.empty(); }
    [[nodiscard]] const train::RidgeRegression& of(size_t lead) const { return by_lead_[lead]; }
    /// The dates that a regression sees; the model sees no fewer.
    [[nodiscard]] int64_t n_history() const { return n_history_; }

private:
    int64_t n_history_;
    std::vector<train::RidgeRegression> by_lead_;
};

Regressions::Regressions(const train::Forecaster& forecaster, std::span<const int64_t> leads)
    : n_history_(std::min<int64_t>(2, forecaster.settings().task.n_step_input))
{
    const auto& dataset = forecaster.training();
    const auto squares = train::find_neighbourhoods(dataset.latitudes(), dataset.longitudes());
    if (!squares)
        return;
    std::vector<double> stdev;
    for (const auto column : forecaster.variables().data_output())
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
        for (const auto anchor : anchors)
            regression.add(history_of(forecaster, train::Forecaster::Period::Training, anchor, n_history_),
                           forecaster.analysis(anchor + relative.front(), train::Forecaster::Period::Training));
        regression.fit();
    }
    by_lead_ = std::move(regressions);
}

} // namespace

ScoredForecasts score_forecasts(train::Forecaster& forecaster, const ForecastCommand& command)
{
    const auto leads = leads_of(command);
    const auto starts = starts_of(forecaster, command);
    std::vector<int64_t> leads_s;
    for (const auto lead : leads)
        leads_s.push_back(lead * forecaster.settings().task.timestep_s);
    const auto names = forecaster.variables().output_names(), units = forecaster.units();
    ScoredForecasts result{train::ScoreSheet(fmt::format("all {} cells", forecaster.dataset().n_cells()),
                                             {"model", "persistence"}, names, units, leads_s),
                           std::nullopt,
                           0,
                           {}};
    const Regressions regressions(forecaster, leads);
    if (!regressions.empty()) {
        const auto title = fmt::format("{} interior cells", regressions.of(0).cells().size());
        result.interior.emplace(title, std::vector<std::string>{"model", "ridge", "persistence"}, names, units,
                                leads_s);
        result.n_training_dates = regressions.of(0).n_dates();
    }
    for (const auto start : starts) {
        const auto n_steps = forecaster.available_steps(start, command.steps);
        auto forecast = forecaster.run(start, n_steps);
        const auto history = history_of(forecaster, train::Forecaster::Period::Test, start, regressions.n_history());
        for (size_t l = 0; l < leads.size() && leads[l] <= n_steps; ++l) {
            const auto truth = forecaster.analysis(start + leads[l] * forecaster.stride());
            const auto& predicted = forecast.steps[size_t(leads[l] - 1)];
            result.all_cells.add(0, l, predicted, truth);
            result.all_cells.add(1, l, history[0], truth);
            if (!result.interior)
                continue;
            const auto& regression = regressions.of(l);
            result.interior->add(0, l, predicted, truth, regression.cells());
            result.interior->add(1, l, regression.forecast(history), truth, regression.cells());
            result.interior->add(2, l, history[0], truth, regression.cells());
        }
        result.forecasts.push_back(std::move(forecast));
    }
    return result;
}

std::string compare_with_regression(const ScoredForecasts& scored)
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
