// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/forecast.h"

#include "gradwind/core/datetime.h"
#include "gradwind/core/error.h"
#include "gradwind/data/windows.h"
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

Forecaster::Forecaster(const fs::path& run, const std::vector<std::string>& overrides)
{
    GRADWIND_CHECK(fs::exists(run), CheckpointError, "[forecast] there is no {}", run.string());
    config_ = load_run_config(run_folder_of(run), overrides);
    settings_ = TrainSettings::from_config(config_, {});
    const auto layout = parallel::layout_from(config_);
    if (layout.kind == parallel::JobKind::Ensemble)
        n_members_ = settings_.members_per_process * layout.gpus_per_ensemble / layout.gpus_per_model;
    const auto checkpoint = Checkpoint::open(run);
    checkpoint_ = checkpoint.folder;
    const auto& name = settings_.dataset_name;
    training_ = open_stage(config_, "training", name);
    dataset_ = open_stage(config_, "test", name);
    variables_ = variable_table(config_, name, *training_);
    statistics_ = training_->statistics();
    const auto processors = config_.find("data.datasets." + name + ".processors");
    processors_ = std::make_unique<model::Processors>(
        model::build_processors(processors.value_or(Config()), {variables_, statistics_}));
    const auto where = (checkpoint_ / "state.json").string();
    check_variables(checkpoint.state, variables_, where);
    load_processors(checkpoint.state, *processors_, where);
    std::vector<std::string> notes;
    const auto graph = obtain_graph(config_, notes);
    inside_ = output_mask(config_.at("model"), graph, name);
    model_ = make_model(config_, settings_, graph, variables_, statistics_);
    model_->to(dtype_of(settings_.precision));
    model::load_state(*model_, ops::read_tensors(checkpoint.weights));
    model_->eval();
}

std::vector<std::string> Forecaster::units() const
{
    std::vector<std::string> units;
    const auto& metadata = dataset_->variables_metadata();
    for (const auto& name : variables_.output_names()) {
        const auto found = metadata.find(name);
        const bool known = found != metadata.end() && found->contains("units") && found->at("units").is_string();
        units.push_back(known ? found->at("units").get<std::string>() : std::string());
    }
    return units;
}

std::vector<int64_t> Forecaster::start_positions() const
{
    auto relative = settings_.task.relative_indices(dataset_->frequency_s(), 1);
    relative.resize(size_t(settings_.task.n_step_input + 1));
    return data::valid_anchors(*dataset_, relative);
}

int64_t Forecaster::available_steps(int64_t anchor, int64_t n_steps) const
{
    int64_t steps = 0;
    while (steps < n_steps) {
        const auto position = anchor + (steps + 1) * stride();
        if (position >= dataset_->n_dates() || dataset_->missing()[size_t(position)])
            break;
        ++steps;
    }
    return steps;
}

int64_t Forecaster::position_of(const std::string& date) const
{
    const auto seconds = parse_datetime(date);
    const auto& dates = dataset_->dates();
    const auto found = std::find(dates.begin(), dates.end(), seconds);
    const auto starts = start_positions();
    GRADWIND_CHECK(found != dates.end() &&
                       std::find(starts.begin(), starts.end(), found - dates.begin()) != starts.end(),
                   ConfigError,
                   "[forecast] no forecast can start at {}: the test period has starts from {} to {}; change "
                   "dataloader.test.datasets.{}.start and end to widen it",
                   date, starts.empty() ? "-" : format_datetime(dates[size_t(starts.front())]),
                   starts.empty() ? "-" : format_datetime(dates[size_t(starts.back())]), settings_.dataset_name);
    return found - dates.begin();
}

std::vector<float> Forecaster::analysis(int64_t position, Period period) const
{
    const auto& dataset = period == Period::Training ? *training_ : *dataset_;
    const auto n_cells = dataset.n_cells(), n_variables = dataset.n_variables();
    std::vector<float> all(size_t(dataset.n_members() * n_cells * n_variables));
    dataset.read(std::array{position}, {0, n_cells}, all);
    const auto& columns = variables_.data_output();
    std::vector<float> out;
    out.reserve(size_t(n_cells) * columns.size());
    for (int64_t cell = 0; cell < n_cells; ++cell)
        for (const auto column : columns)
            out.push_back(all[size_t(cell * n_variables + column)]);
    return out;
}

Forecast Forecaster::run(int64_t anchor, int64_t n_steps)
{
    const at::NoGradGuard no_grad;
    const auto& task = settings_.task;
    const auto n_calls = (n_steps + task.n_step_output - 1) / task.n_step_output;
    auto relative = task.relative_indices(dataset_->frequency_s(), n_calls);
    // The last call's outputs are not fed back, so the dates after the last wanted step need not exist.
    relative.resize(size_t(task.n_step_input + n_steps));
    std::vector<int64_t> positions;
    for (const auto offset : relative)
        positions.push_back(anchor + offset);
    const auto n_cells = dataset_->n_cells();
    auto batch = at::empty({1, int64_t(positions.size()), dataset_->n_members(), n_cells, dataset_->n_variables()});
    dataset_->read(positions, {0, n_cells}, {batch.data_ptr<float>(), size_t(batch.numel())});
    batch = batch.narrow(2, 0, 1).to(dtype_of(settings_.precision)).contiguous();
    const auto masks = processors_->transform(batch, model::Space::Dataset);

    Forecast forecast{anchor, {}};
    constexpr int64_t seconds_per_hour = 3600;
    for (int64_t member = 0; member < n_members_; ++member) {
        const model::CounterNoise noise({.key = noise_key(settings_.seed.value, NoisePurpose::Forecast),
                                         .step = dataset_->dates()[size_t(anchor)] / seconds_per_hour,
                                         .samples = {0},
                                         .first_member = member});
        auto steps = run_member(batch, masks, n_steps, noise);
        if (member == 0) {
            forecast.steps = std::move(steps);
            continue;
        }
        for (size_t step = 0; step < steps.size(); ++step)
            for (size_t i = 0; i < steps[step].size(); ++i)
                forecast.steps[step][i] += (steps[step][i] - forecast.steps[step][i]) / float(member + 1);
    }
    return forecast;
}

std::vector<std::vector<float>> Forecaster::run_member(const at::Tensor& batch, const model::BatchMasks& masks,
                                                       int64_t n_steps, const model::NoiseSource& noise)
{
    const auto& task = settings_.task;
    const auto n_calls = (n_steps + task.n_step_output - 1) / task.n_step_output;
    std::vector<std::vector<float>> steps;
    auto x = model::first_input(batch, task.n_step_input, variables_);
    for (int64_t call = 0; call < n_calls; ++call) {
        const auto y = model_->forward(x, {.rollout_step = call, .noise = &noise});
        const auto physical = y.clone();
        processors_->inverse(physical, model::Space::ModelOutput, masks);
        for (int64_t t = 0; t < task.n_step_output && int64_t(steps.size()) < n_steps; ++t) {
            const auto field = physical.select(1, t).to(at::kFloat).contiguous();
            steps.emplace_back(field.data_ptr<float>(), field.data_ptr<float>() + field.numel());
        }
        if (call + 1 < n_calls)
            x = model::advance_input(x, y, batch, call, variables_, inside_);
    }
    return steps;
}

} // namespace gradwind::train
