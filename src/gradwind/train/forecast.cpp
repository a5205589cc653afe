// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/forecast.h"

#include "gradwind/core/datetime.h"
#include "gradwind/core/error.h"
#include "gradwind/model/options.h"
#include "gradwind/model/rollout.h"
#include "gradwind/ops/tensor_io.h"
#include "gradwind/parallel/layout_config.h"
#include "gradwind/train/job.h"
#include "gradwind/train/output_mask.h"
#include "gradwind/train/run_config.h"
#include "gradwind/train/setup.h"
#include "gradwind/train/warm_start.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace gradwind::train
{

namespace fs = std::filesystem;

namespace
{

Config config_of(const fs::path& run, const std::vector<std::string>& overrides)
{
    GRADWIND_CHECK(fs::exists(run), CheckpointError, "[forecast] there is no {}", run.string());
    return load_run_config(run_folder_of(run), overrides);
}

/// Numbers of the data sets that some decoder writes.
std::vector<size_t> predicted_by(const Config& config, const std::vector<std::string>& names)
{
    std::vector<size_t> result;
    for (const auto& decoder : model::find_mappers(config.at("model"), "decoders", names))
        for (const auto& name : decoder.datasets)
            result.push_back(size_t(std::find(names.begin(), names.end(), name) - names.begin()));
    std::sort(result.begin(), result.end());
    return result;
}

} // namespace

Forecaster::Forecaster(const fs::path& run, const std::vector<std::string>& overrides)
    : config_(config_of(run, overrides)), settings_(TrainSettings::from_config(config_, {})),
      training_(open_stage(config_, "training", settings_.dataset_names)),
      test_(open_stage(config_, "test", settings_.dataset_names)),
      predicted_(predicted_by(config_, settings_.dataset_names))
{
    const auto layout = parallel::layout_from(config_);
    if (layout.kind == parallel::JobKind::Ensemble)
        n_members_ = settings_.members_per_process * layout.gpus_per_ensemble / layout.gpus_per_model;
    const auto checkpoint = Checkpoint::open(run);
    checkpoint_ = checkpoint.folder;
    for (const auto& part : training_.parts())
        datasets_.push_back(model_dataset(config_, part.name, *part.dataset));
    const auto where = (checkpoint_ / "state.json").string();
    check_variables(checkpoint.state, datasets_, where);
    load_processors(checkpoint.state, datasets_, where);
    std::vector<std::string> notes;
    const auto graph = obtain_graph(config_, notes);
    model_ = make_model(config_, settings_, graph, for_model(datasets_));
    for (const auto& dataset : datasets_)
        insides_.push_back(output_mask(config_.at("model"), graph, dataset.name));
    model_->to(dtype_of(settings_.precision));
    model::load_state(*model_, ops::read_tensors(checkpoint.weights));
    model_->eval();
}

std::vector<std::string> Forecaster::units(size_t dataset) const
{
    std::vector<std::string> units;
    const auto& metadata = test_.parts()[dataset].dataset->variables_metadata();
    for (const auto& name : variables(dataset).output_names()) {
        const auto found = metadata.find(name);
        const bool known = found != metadata.end() && found->contains("units") && found->at("units").is_string();
        units.push_back(known ? found->at("units").get<std::string>() : std::string());
    }
    return units;
}

std::vector<int64_t> Forecaster::cells_that_count(size_t dataset) const
{
    const auto& inside = insides_[dataset];
    if (!inside.defined())
        return {};
    const auto cells = inside.nonzero().reshape({-1}).contiguous();
    return {cells.data_ptr<int64_t>(), cells.data_ptr<int64_t>() + cells.numel()};
}

std::vector<int64_t> Forecaster::start_positions() const
{
    auto relative = settings_.task.relative_indices(test_.frequency_s(), 1);
    relative.resize(size_t(settings_.task.n_step_input + 1));
    auto starts = test_.anchors(relative);
    std::sort(starts.begin(), starts.end());
    return starts;
}

int64_t Forecaster::available_steps(int64_t anchor, int64_t n_steps) const
{
    const auto exists = [&](const StagePart& part, int64_t position) {
        return position >= 0 && position < part.dataset->n_dates() && !part.dataset->missing()[size_t(position)];
    };
    int64_t steps = 0;
    while (steps < n_steps && std::all_of(test_.parts().begin(), test_.parts().end(), [&](const auto& part) {
               return exists(part, anchor + part.shift + (steps + 1) * stride());
           }))
        ++steps;
    return steps;
}

int64_t Forecaster::position_of(const std::string& date) const
{
    const auto seconds = parse_datetime(date);
    const auto& dates = test_.first().dates();
    const auto found = std::find(dates.begin(), dates.end(), seconds);
    const auto starts = start_positions();
    GRADWIND_CHECK(found != dates.end() &&
                       std::find(starts.begin(), starts.end(), found - dates.begin()) != starts.end(),
                   ConfigError,
                   "[forecast] no forecast can start at {}: the test period has starts from {} to {}; change "
                   "dataloader.test.datasets.{}.start and end to widen it",
                   date, starts.empty() ? "-" : format_datetime(dates[size_t(starts.front())]),
                   starts.empty() ? "-" : format_datetime(dates[size_t(starts.back())]), test_.parts().front().name);
    return found - dates.begin();
}

std::vector<float> Forecaster::analysis(size_t dataset, int64_t position, Period period) const
{
    const auto& part = stage(period).parts()[dataset];
    const auto n_cells = part.dataset->n_cells(), n_variables = part.dataset->n_variables();
    std::vector<float> all(size_t(part.dataset->n_members() * n_cells * n_variables));
    part.dataset->read(std::array{position + part.shift}, {0, n_cells}, all);
    const auto& columns = variables(dataset).data_output();
    std::vector<float> out;
    out.reserve(size_t(n_cells) * columns.size());
    for (int64_t cell = 0; cell < n_cells; ++cell)
        for (const auto column : columns)
            out.push_back(all[size_t(cell * n_variables + column)]);
    return out;
}

int64_t Forecaster::n_calls(int64_t n_steps) const
{
    const auto calls = (n_steps + settings_.task.n_step_output - 1) / settings_.task.n_step_output;
    GRADWIND_CHECK(calls <= 1 || predicted_.size() == datasets_.size(), ConfigError,
                   "[forecast] the model does not predict all data sets that it reads, so it cannot go on from its own "
                   "forecast: expected at most {} time steps, found {}",
                   settings_.task.n_step_output, n_steps);
    return calls;
}

Forecaster::Batch Forecaster::read(size_t dataset, int64_t anchor, const std::vector<int64_t>& relative) const
{
    const auto& part = test_.parts()[dataset];
    std::vector<int64_t> positions;
    for (const auto offset : relative)
        positions.push_back(anchor + part.shift + offset);
    const auto n_cells = part.dataset->n_cells();
    auto values =
        at::empty({1, int64_t(positions.size()), part.dataset->n_members(), n_cells, part.dataset->n_variables()});
    part.dataset->read(positions, {0, n_cells}, {values.data_ptr<float>(), size_t(values.numel())});
    values = values.narrow(2, 0, 1).to(dtype_of(settings_.precision)).contiguous();
    auto masks = datasets_[dataset].processors.transform(values, model::Space::Dataset);
    return {values, std::move(masks)};
}

Forecast Forecaster::run(int64_t anchor, int64_t n_steps)
{
    const at::NoGradGuard no_grad;
    const auto& task = settings_.task;
    auto relative = task.relative_indices(test_.frequency_s(), n_calls(n_steps));
    // The last call's outputs are not fed back, so the dates after the last wanted step need not exist.
    relative.resize(size_t(task.n_step_input + n_steps));
    std::vector<Batch> batches;
    for (size_t i = 0; i < datasets_.size(); ++i)
        batches.push_back(read(i, anchor, relative));

    Forecast forecast{anchor, {}};
    constexpr int64_t seconds_per_hour = 3600;
    for (int64_t member = 0; member < n_members_; ++member) {
        const model::CounterNoise noise({.key = noise_key(settings_.seed.value, NoisePurpose::Forecast),
                                         .step = test_.first().dates()[size_t(anchor)] / seconds_per_hour,
                                         .samples = {0},
                                         .first_member = member});
        auto own = run_member(batches, n_steps, noise);
        if (member == 0) {
            forecast.datasets = std::move(own);
            continue;
        }
        for (size_t d = 0; d < own.size(); ++d)
            for (size_t step = 0; step < own[d].size(); ++step) {
                auto& mean = forecast.datasets[d][step];
                for (size_t i = 0; i < mean.size(); ++i)
                    mean[i] += (own[d][step][i] - mean[i]) / float(member + 1);
            }
    }
    return forecast;
}

std::vector<Forecast::Steps> Forecaster::run_member(const std::vector<Batch>& batches, int64_t n_steps,
                                                    const model::NoiseSource& noise)
{
    const auto& task = settings_.task;
    const auto calls = n_calls(n_steps);
    std::vector<Forecast::Steps> result(datasets_.size());
    model::Fields x;
    for (size_t i = 0; i < datasets_.size(); ++i)
        x[datasets_[i].name] = model::first_input(batches[i].values, task.n_step_input, datasets_[i].variables);
    for (int64_t call = 0; call < calls; ++call) {
        const auto y = model_->forward_all(x, {.rollout_step = call, .noise = &noise});
        for (const auto i : predicted_) {
            const auto& [name, variables, statistics, processors] = datasets_[i];
            const auto physical = y.at(name).clone();
            processors.inverse(physical, model::Space::ModelOutput, batches[i].masks);
            auto& steps = result[i];
            for (int64_t t = 0; t < task.n_step_output && int64_t(steps.size()) < n_steps; ++t) {
                const auto field = physical.select(1, t).to(at::kFloat).contiguous();
                steps.emplace_back(field.data_ptr<float>(), field.data_ptr<float>() + field.numel());
            }
            if (call + 1 < calls)
                x.at(name) =
                    model::advance_input(x.at(name), y.at(name), batches[i].values, call, variables, insides_[i]);
        }
    }
    return result;
}

} // namespace gradwind::train
