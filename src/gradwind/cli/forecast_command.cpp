// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/cli/forecast_command.h"

#include "gradwind/cli/forecast_pictures.h"
#include "gradwind/cli/forecast_scores.h"
#include "gradwind/core/datetime.h"
#include "gradwind/core/error.h"
#include "gradwind/core/safetensors.h"
#include "gradwind/train/forecast.h"

#include <nlohmann/json.hpp>
#include <ostream>

namespace gradwind::cli
{

namespace
{

void write_fields(const std::filesystem::path& path, const train::Forecaster& forecaster,
                  const std::vector<train::Forecast>& forecasts)
{
    std::vector<std::vector<float>> kept; // what the entries point into
    std::vector<TensorBytes> entries;
    const auto n_variables = forecaster.variables().n_output();
    for (const auto& forecast : forecasts) {
        auto& values = kept.emplace_back();
        for (const auto& step : forecast.steps)
            values.insert(values.end(), step.begin(), step.end());
        const auto date = forecaster.dataset().dates()[size_t(forecast.anchor)];
        entries.push_back({"forecast." + format_datetime(date),
                           DType::F32,
                           {int64_t(forecast.steps.size()), forecaster.dataset().n_cells(), n_variables},
                           {}});
    }
    for (size_t i = 0; i < entries.size(); ++i)
        entries[i].bytes = std::as_bytes(std::span(kept[i]));
    const auto& names = forecaster.variables().output_names();
    write_safetensors(
        path, entries,
        {{"dimensions", "step, cell, variable"}, {"variables", fmt::format("{}", fmt::join(names, ","))}});
}

} // namespace

int run(const ForecastCommand& command, std::ostream& out)
{
    train::Forecaster forecaster(command.run, command.overrides);
    const auto scored = score_forecasts(forecaster, command);
    if (!command.output.empty())
        write_fields(command.output, forecaster, scored.forecasts);
    std::vector<std::filesystem::path> pictures;
    if (command.pictures == ForecastCommand::Pictures::Draw)
        pictures = draw_run(forecaster, scored.forecasts.front());
    if (command.format == ForecastCommand::Format::Json) {
        auto json = scored.all_cells.to_json();
        if (scored.interior) {
            json["interior"] = scored.interior->to_json();
            json["interior"]["training_dates"] = scored.n_training_dates;
        }
        json["checkpoint"] = forecaster.checkpoint().string();
        for (const auto& picture : pictures)
            json["pictures"].push_back(picture.string());
        out << json.dump(1) << "\n";
        return 0;
    }
    out << scored.all_cells.format() << "\n";
    if (scored.interior)
        out << scored.interior->format() << compare_with_regression(scored) << "\n";
    out << "checkpoint  " << forecaster.checkpoint().string() << "\n";
    if (!pictures.empty())
        out << fmt::format("pictures    {} in {}\n", pictures.size(), pictures.front().parent_path().string());
    if (!command.output.empty())
        out << "fields      " << command.output.string() << "\n";
    return 0;
}

} // namespace gradwind::cli
