// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The scores that `gradwind forecast` shows.
#pragma once
#include "gradwind/cli/forecast_command.h"
#include "gradwind/train/forecast.h"
#include "gradwind/train/score.h"

#include <optional>
#include <string>
#include <vector>

namespace gradwind::cli
{

/// Errors of the forecasts of one data set.
struct DatasetScores {
    std::string dataset;
    train::ScoreSheet all_cells;               ///< model, persistence
    std::optional<train::ScoreSheet> interior; ///< model, ridge, persistence; see train::RidgeRegression
    int64_t n_training_dates = 0;              ///< that the regression of the first lead time was fitted on
};

/// Forecasts and their errors.
struct ScoredForecasts {
    std::vector<DatasetScores> datasets; ///< that the model predicts
    std::vector<train::Forecast> forecasts;
};

/// Runs a forecast from every wanted date and scores it.
///
/// The regression is fitted for each lead time on the training period. It is left out where the grid is not a regular
/// one, where training has fewer values than the regression has coefficients, and where the fit would take minutes.
/// @throws ConfigError, DataError
[[nodiscard]] ScoredForecasts score_forecasts(train::Forecaster& forecaster, const ForecastCommand& command);

/// One line: in which variables the regression is better than the model at the first lead time; empty without one.
[[nodiscard]] std::string compare_with_regression(const DatasetScores& scored);

} // namespace gradwind::cli
