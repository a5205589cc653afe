// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/cli/forecast_command.h"

#include "gradwind/cli/forecast_pictures.h"
#include "gradwind/cli/forecast_scores.h"
#include "gradwind/core/datetime.h"
#include "gradwind/core/error.h"
#include "gradwind/core/safetensors.h"
#include "gradwind/train/forecast.h"

#include <map>
#include <nlohmann/json.hpp>
#include <ostream>

namespace gradwind::cli
{

namespace
{

/// One tensor for each start; of several data sets one for each of them, with its name.
void write_fields(const std::filesystem::path& path, const train::Forecaster& forecaster,
                  const std::vector<train::Forecast>& forecasts)
{
    std::vector<std::vector<float>> kept; // what the entries point into
    std::vector<TensorBytes> entries;
    std::map<std::string, std::string> metadata = {{"dimensions", "step, cell, variable"}};
    for (const auto dataset : forecaster.predicted()) {
        const auto& own = forecaster.datasets()[dataset];
        const auto suffix = forecaster.datasets().size() == 1 ? "" : "." + own.name;
        metadata["variables" + suffix] = fmt::format("{}", fmt::join(own.variables.output_names(), ","));
        for (const auto& forecast : forecasts) {
            const auto& steps = forecast.datasets[dataset];
            auto& values = kept.emplace_back();
            for (const auto& step : steps)
                values.insert(values.end(), step.begin(), step.end());
            const auto date = forecaster.stage().first().dates()[size_t(forecast.anchor)];
            entries.push_back({"forecast" + suffix + "." + format_datetime(date),
                               DType::F32,
                               {int64_t(steps.size()), forecaster.dataset(dataset).n_cells(), own.variables.n_output()},
                               {}});
        }
    }
    for (size_t i = 0; i < entries.size(); ++i)
        entries[i].bytes = std::as_bytes(std::span(kept[i]));
    write_safetensors(path, entries, metadata);
}

nlohmann::json scores_json(const DatasetScores& scores)
{
    auto json = scores.all_cells.to_json();
    if (scores.interior) {
        json["interior"] = scores.interior->to_json();
        json["interior"]["training_dates"] = scores.n_training_dates;
    }
    return json;
}

/// Of one data set its scores, of several an object of theirs.
nlohmann::json scores_json(const ScoredForecasts& scored)
{
    if (scored.datasets.size() == 1)
        return scores_json(scored.datasets.front());
    auto json = nlohmann::json::object();
    for (const auto& scores : scored.datasets)
        json["datasets"][scores.dataset] = scores_json(scores);
    return json;
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
        auto json = scores_json(scored);
        json["checkpoint"] = forecaster.checkpoint().string();
        for (const auto& picture : pictures)
            json["pictures"].push_back(picture.string());
        out << json.dump(1) << "\n";
        return 0;
    }
    for (const auto& scores : scored.datasets) {
        out << scores.all_cells.format() << "\n";
        if (scores.interior)
            out << scores.interior->format() << compare_with_regression(scores) << "\n";
    }
    out << "checkpoint  " << forecaster.checkpoint().string() << "\n";
    if (!pictures.empty())
        out << fmt::format("pictures    {} in {}\n", pictures.size(), pictures.front().parent_path().string());
    if (!command.output.empty())
        out << "fields      " << command.output.string() << "\n";
    return 0;
}

} // namespace gradwind::cli
