// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The pictures of `gradwind forecast --plots`.
#pragma once
#include "gradwind/train/forecast.h"

namespace gradwind::cli
{

/// Draws into `plots` of the run folder: the loss curves of metrics.jsonl, and for every variable of
/// `diagnostics.plot.parameters` that the model forecasts (all of them if none is) forecast, truth and error at the
/// last step. @return the files @throws DataError if gnuplot is missing or a file cannot be written
std::vector<std::filesystem::path> draw_run(const train::Forecaster& forecaster, const train::Forecast& forecast);

} // namespace gradwind::cli
