// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/cli/forecast_pictures.h"

#include "gradwind/core/datetime.h"
#include "gradwind/core/error.h"
#include "gradwind/train/pictures.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

namespace gradwind::cli
{

namespace
{

namespace fs = std::filesystem;

/// One curve per loss that metrics.jsonl has.
std::vector<train::Curve> loss_curves(const fs::path& metrics)
{
    std::vector<train::Curve> curves = {{"training", {}, {}}, {"validation", {}, {}}};
    const std::array<const char*, 2> keys = {"train_multi_dataset_loss_step", "val_multi_dataset_loss"};
    std::ifstream in(metrics);
    for (std::string line; std::getline(in, line);) {
        const auto entry = nlohmann::json::parse(line, nullptr, false);
        for (size_t i = 0; i < keys.size(); ++i) {
            if (entry.is_object() && entry.contains("step") && entry.contains(keys[i]) && entry[keys[i]].is_number()) {
                curves[i].x.push_back(entry["step"].get<double>());
                curves[i].y.push_back(entry[keys[i]].get<double>());
            }
        }
    }
    std::erase_if(curves, [](const auto& curve) { return curve.x.empty(); });
    return curves;
}

std::vector<size_t> chosen_variables(const train::Forecaster& forecaster, size_t index)
{
    const auto names = forecaster.variables(index).output_names();
    const auto wanted = forecaster.config().get<std::vector<std::string>>("diagnostics.plot.parameters", {});
    std::vector<size_t> all, chosen;
    for (size_t i = 0; i < names.size(); ++i) {
        all.push_back(i);
        if (std::find(wanted.begin(), wanted.end(), names[i]) != wanted.end())
            chosen.push_back(i);
    }
    return chosen.empty() ? all : chosen;
}

std::vector<float> column(const std::vector<float>& field, size_t n_variables, size_t variable)
{
    std::vector<float> out;
    for (size_t i = variable; i < field.size(); i += n_variables)
        out.push_back(field[i]);
    return out;
}

/// Maps of a forecast's last step for one data set.
void draw_dataset(const train::Forecaster& forecaster, const train::Forecast& forecast, size_t index,
                  const fs::path& folder, std::vector<fs::path>& files)
{
    const auto& dataset = forecaster.dataset(index);
    const auto& steps = forecast.datasets[index];
    const auto n_steps = int64_t(steps.size());
    const auto truth = forecaster.analysis(index, forecast.anchor + n_steps * forecaster.stride());
    const auto names = forecaster.variables(index).output_names();
    const auto date = format_datetime(forecaster.stage().first().dates()[size_t(forecast.anchor)]);
    auto date_in_name = date; // colons are no part of file names on some systems and of scp's paths
    std::erase(date_in_name, ':');
    const auto lead = frequency_to_string(n_steps * forecaster.settings().task.timestep_s);
    const auto prefix = forecaster.datasets().size() == 1 ? "" : forecaster.datasets()[index].name + "_";
    for (const auto v : chosen_variables(forecaster, index)) {
        const auto predicted = column(steps.back(), names.size(), v);
        const auto observed = column(truth, names.size(), v);
        std::vector<float> error(predicted.size());
        std::transform(predicted.begin(), predicted.end(), observed.begin(), error.begin(), std::minus<>());
        train::MapPicture picture{fmt::format("{} after {}, from {}", names[v], lead, date),
                                  forecaster.units(index)[v],
                                  dataset.latitudes(),
                                  dataset.longitudes(),
                                  {{"forecast", predicted, train::Palette::Sequential},
                                   {"truth", observed, train::Palette::Sequential},
                                   {"error", error, train::Palette::Diverging}}};
        files.push_back(folder / fmt::format("{}{}_{}_{}.png", prefix, names[v], date_in_name, lead));
        train::draw_maps(picture, files.back());
    }
}

} // namespace

std::vector<fs::path> draw_run(const train::Forecaster& forecaster, const train::Forecast& forecast)
{
    const auto run = forecaster.checkpoint().parent_path().parent_path(); // RUN/checkpoints/step_NNNNNN
    const auto folder = run / "plots";
    fs::create_directories(folder);
    std::vector<fs::path> files;
    if (auto curves = loss_curves(run / "metrics.jsonl"); !curves.empty()) {
        files.push_back(folder / "loss.png");
        train::draw_curves({"Loss", "optimiser step", "loss", train::Axis::Logarithmic, std::move(curves)},
                           files.back());
    }
    for (const auto index : forecaster.predicted())
        draw_dataset(forecaster, forecast, index, folder, files);
    return files;
}

} // namespace gradwind::cli
