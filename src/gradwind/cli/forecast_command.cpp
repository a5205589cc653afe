// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/cli/forecast_command.h"

#include "gradwind/cli/forecast_pictures.h"
#include "gradwind/core/datetime.h"
#include "gradwind/core/error.h"
#include "gradwind/core/safetensors.h"
#include "gradwind/train/forecast.h"
#include "gradwind/train/score.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <ostream>

namespace gradwind::cli
{

namespace
{

std::vector<std::string> units_of(const train::Forecaster& forecaster)
{
    std::vector<std::string> units;
    const auto& metadata = forecaster.dataset().variables_metadata();
    for (const auto& name : forecaster.variables().output_names()) {
        const auto found = metadata.find(name);
        const bool known = found != metadata.end() && found->contains("units") && found->at("units").is_string();
        units.push_back(known ? found->at("units").get<std::string>() : std::string());
    }
    return units;
}

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

struct Scored {
    train::ScoreSheet sheet;
    std::vector<train::Forecast> forecasts;
};

Scored score(train::Forecaster& forecaster, const ForecastCommand& command)
{
    const auto leads = leads_of(command);
    std::vector<int64_t> leads_s;
    for (const auto lead : leads)
        leads_s.push_back(lead * forecaster.settings().task.timestep_s);
    Scored result{train::ScoreSheet(fmt::format("all {} cells", forecaster.dataset().n_cells()),
                                    {"model", "persistence"}, forecaster.variables().output_names(),
                                    units_of(forecaster), leads_s),
                  {}};
    std::vector<int64_t> starts;
    for (const auto& date : command.dates)
        starts.push_back(forecaster.position_of(date));
    if (command.dates.empty())
        starts = forecaster.start_positions();
    GRADWIND_CHECK(!starts.empty(), DataError,
                   "[forecast] the test period holds no start with its inputs and one following date; widen "
                   "dataloader.test.datasets.{}.start and end",
                   forecaster.settings().dataset_name);
    const auto stride = forecaster.settings().task.timestep_s / forecaster.dataset().frequency_s();
    for (const auto start : starts) {
        const auto n_steps = forecaster.available_steps(start, command.steps);
        auto forecast = forecaster.run(start, n_steps);
        const auto now = forecaster.analysis(start);
        for (size_t l = 0; l < leads.size() && leads[l] <= n_steps; ++l) {
            const auto truth = forecaster.analysis(start + leads[l] * stride);
            result.sheet.add(0, l, forecast.steps[size_t(leads[l] - 1)], truth);
            result.sheet.add(1, l, now, truth);
        }
        result.forecasts.push_back(std::move(forecast));
    }
    return result;
}

} // namespace

int run(const ForecastCommand& command, std::ostream& out)
{
    train::Forecaster forecaster(command.run, command.overrides);
    const auto scored = score(forecaster, command);
    if (!command.output.empty())
        write_fields(command.output, forecaster, scored.forecasts);
    std::vector<std::filesystem::path> pictures;
    if (command.pictures == ForecastCommand::Pictures::Draw)
        pictures = draw_run(forecaster, scored.forecasts.front());
    if (command.format == ForecastCommand::Format::Json) {
        auto json = scored.sheet.to_json();
        json["checkpoint"] = forecaster.checkpoint().string();
        for (const auto& picture : pictures)
            json["pictures"].push_back(picture.string());
        out << json.dump(1) << "\n";
        return 0;
    }
    out << scored.sheet.format() << "\ncheckpoint  " << forecaster.checkpoint().string() << "\n";
    if (!pictures.empty())
        out << fmt::format("pictures    {} in {}\n", pictures.size(), pictures.front().parent_path().string());
    if (!command.output.empty())
        out << "fields      " << command.output.string() << "\n";
    return 0;
}

} // namespace gradwind::cli
