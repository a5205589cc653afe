// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/run_loop.h"

#include "gradwind/core/config_yaml.h"
#include "gradwind/core/error.h"
#include "gradwind/core/safetensors.h"
#include "gradwind/train/compression_checkpoint.h"
#include "gradwind/train/warm_start.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <span>

namespace gradwind::train
{

namespace
{

std::vector<std::string> arena_order(const Checkpoint* checkpoint)
{
    return checkpoint ? checkpoint->state.value("arena_order", std::vector<std::string>{}) : std::vector<std::string>{};
}

std::optional<LogPosition> log_position(const std::optional<RunState>& resumed)
{
    return resumed ? std::optional(LogPosition{resumed->step, resumed->metrics_bytes}) : std::nullopt;
}

} // namespace

RunLoop::RunLoop(Job job, const TrainOptions& options, const Reference& reference, const Checkpoint* checkpoint,
                 const std::optional<RunState>& resumed, ProgressSink& progress)
    : job_(std::move(job)), options_(options), hooks_(options.hooks ? *options.hooks : no_hooks_),
      account_(job_.groups), exposure_(job_.groups.world),
      timeline_(job_.groups.world, job_.device, job_.settings.timeline), progress_(progress),
      state_(resumed.value_or(RunState{})), schedule_(job_.settings.schedule),
      steps_(job_, arena_order(checkpoint), hooks_),
      sampler_(sampler_options(job_, reference, job_.settings.training), state_.sampler),
      writer_(job_.is_first() ? RunRole::Writer : RunRole::Silent, options.run_dir, job_.settings.checkpoint.retention,
              options.resume ? log_position(resumed) : std::nullopt),
      cadence_(job_.settings.checkpoint), poll_(job_.groups.world)
{
    account_.add_exchange(steps_.engine().groups());
    state_.seed = job_.settings.seed;
    state_.reference = reference;
    schedule_.lr = reference.effective_lr;
    reported_.step = state_.step;
    reported_.samples = state_.samples_seen;
    if (!job_.is_first())
        state_.epoch_loss_sum = 0; // rank 0 carries the sum of all on
    if (checkpoint)
        restore(*checkpoint);
    if (!options.resume)
        writer_.write_config(to_yaml(job_.config));
}

void RunLoop::restore(const Checkpoint& checkpoint)
{
    load_tensors(checkpoint.weights, state_of(*job_.model));
    auto& optimizer = steps_.optimizer();
    const auto moments = optimizer.blank();
    load_tensors(checkpoint.optimizer, with_compression(checkpoint, optimizer.named(moments)));
    optimizer.adopt(moments);
    restore_compression(checkpoint, steps_.engine(), job_.groups.world);
    if (options_.resume || !job_.config.get<bool>("training.update_ds_stats_on_ckpt_load.states", false))
        load_processors(checkpoint.state, job_.datasets, checkpoint.folder.string());
    optimizer.restore_step_count(state_.optimizer_steps);
    if (!options_.resume)
        return; // a fork has no checkpoint of its own yet
    saved_step_ = state_.step;
    newest_ = checkpoint.folder;
}

TrainResult RunLoop::run()
{
    if (finished() && sampler_.next_step() > 0)
        train_epoch(); // a signal at the last step left the end of its epoch to do
    while (!finished() && !interrupted_)
        train_epoch();
    if (saved_step_ != state_.step && job_.settings.checkpoint.enabled)
        save({interrupted_ ? "signal" : "final"});
    if (options_.record == Record::Yes)
        recorder_.write(options_.run_dir / fmt::format("record_rank{}.json", job_.groups.world.rank()));
    if (timeline_.is_begun())
        write_timeline();
    report_exposure();
    job_.groups.world.barrier();
    return {interrupted_ ? TrainEnd::Interrupted : TrainEnd::Finished, state_.step,
            std::chrono::duration<double>(Clock::now() - start_).count(), newest_, account_.totals()};
}

void RunLoop::report_exposure()
{
    const auto lines = exposure_table(exposure_.rows());
    if (lines.empty() || !job_.is_first())
        return;
    progress_.note(lines.front());
    const auto text = fmt::format("{}\n", fmt::join(lines, "\n"));
    write_file_atomically(options_.run_dir / "exchange.txt", std::as_bytes(std::span(text)));
}

void RunLoop::write_timeline()
{
    const auto trace = timeline_.trace();
    if (!job_.is_first())
        return;
    const auto file = options_.run_dir / "timeline.json";
    write_file_atomically(file, std::as_bytes(std::span(trace)));
    progress_.note(fmt::format("timeline of all ranks in {}", file.string()));
}

bool RunLoop::finished() const
{
    const auto& settings = job_.settings;
    return (settings.max_steps && state_.step >= *settings.max_steps) ||
           (settings.max_epochs && sampler_.epoch() >= *settings.max_epochs);
}

std::vector<int64_t> RunLoop::anchors_of(int64_t n_rollout) const
{
    return job_.training->anchors(job_.settings.task.relative_indices(job_.training->frequency_s(), n_rollout));
}

std::vector<std::vector<int64_t>> RunLoop::remaining_batches(const std::vector<int64_t>& anchors) const
{
    std::vector<std::vector<int64_t>> result;
    for (int64_t step = sampler_.next_step(); step < sampler_.n_steps(); ++step)
        for (const auto& micro : sampler_.step(step).micro_batches) {
            if (micro.samples.empty())
                continue;
            auto& batch = result.emplace_back();
            for (const auto sample : micro.samples)
                batch.push_back(anchors[size_t(sample)]);
        }
    return result;
}

void RunLoop::plan_run()
{
    const auto& settings = job_.settings;
    n_steps_in_run_ = settings.max_steps.value_or(INT64_MAX);
    if (settings.max_epochs)
        n_steps_in_run_ = std::min(n_steps_in_run_, *settings.max_epochs * sampler_.n_steps());
    if (!settings.has_period)
        schedule_.period_steps = n_steps_in_run_;
}

void RunLoop::train_epoch()
{
    const auto n_rollout = job_.settings.task.rollout.at(sampler_.epoch());
    const auto anchors = anchors_of(n_rollout);
    sampler_.begin_epoch(int64_t(anchors.size()));
    if (n_steps_in_run_ == 0)
        plan_run();
    if (finished() && sampler_.next_step() < sampler_.n_steps())
        return;
    auto batches = remaining_batches(anchors);
    hooks_.planned(batches);
    BatchFeeder feeder(
        *job_.training, batches,
        {.device = job_.device,
         .dtype = job_.dtype,
         .n_threads = job_.settings.training.n_workers,
         .prefetch_batches = job_.settings.prefetch_batches,
         .relative_indices = job_.settings.task.relative_indices(job_.training->frequency_s(), n_rollout)});
    while (sampler_.next_step() < sampler_.n_steps()) {
        if (finished() || interrupted_)
            return;
        job_.groups.world.set_step(state_.step);
        auto samples = sampler_.step(sampler_.next_step());
        hooks_.chosen(samples);
        timeline_.begin(steps_.clock(), steps_.engine());
        account_.begin();
        const auto outcome = steps_.run(samples, feeder, schedule_.at(state_.step), n_rollout, state_.step);
        account_.end(CommPhase::Step);
        exposure_.add(steps_.engine().last_step());
        if (timeline_.end(steps_.clock(), steps_.engine(), outcome))
            write_timeline();
        after_step(outcome, n_rollout);
    }
    if (!interrupted_)
        finish_epoch(n_rollout);
}

void RunLoop::after_step(const StepOutcome& outcome, int64_t n_rollout)
{
    sampler_.advance();
    ++state_.step;
    state_.optimizer_steps = steps_.optimizer().steps();
    state_.samples_seen += outcome.n_global;
    state_.epoch_samples += outcome.n_global;
    state_.epoch_loss_sum += outcome.loss_share * double(outcome.n_global);
    if (options_.record == Record::Yes) {
        const auto first =
            -(job_.settings.task.n_step_input - 1) * job_.settings.task.timestep_s / job_.training->frequency_s();
        for (const auto& batch : outcome.batches) {
            auto positions = batch.anchors;
            for (auto& position : positions)
                position += first;
            // Ranks of a model group, or of an ensemble, have shares of one loss.
            recorder_.batch(job_.groups.ensemble.sum(std::array{batch.loss})[0], std::move(positions));
        }
        recorder_.step(outcome.lr, outcome.optimizer.grad_norm, outcome.batches.size());
    }
    report(outcome, n_rollout);
    const auto poll = poll_.after_step(signal_.received() != 0, wall_s());
    interrupted_ = poll.stop;
    auto due = cadence_.after_step(state_.step, poll.elapsed_s / 60);
    if (interrupted_)
        due.emplace_back("signal");
    if (!due.empty())
        save(std::move(due));
}

void RunLoop::report(const StepOutcome& outcome, int64_t n_rollout)
{
    if (!outcome.optimizer.applied)
        progress_.note(
            fmt::format("step {}: the gradient of `{}` is not finite{}, the step was skipped", state_.step,
                        outcome.optimizer.non_finite_parameter,
                        outcome.non_finite_rank < 0 ? "" : fmt::format(" on rank {}", outcome.non_finite_rank)));
    StepProgress progress{.step = state_.step,
                          .n_steps = n_steps_in_run_,
                          .epoch = sampler_.epoch(),
                          .rollout = n_rollout,
                          .loss = std::nullopt,
                          .lr = outcome.lr,
                          .steps_per_s = 0,
                          .samples_per_s = 0};
    if (state_.step % job_.settings.log_interval_steps != 0) {
        progress_.step(progress);
        return;
    }
    const auto loss = job_.groups.world.sum(std::array{outcome.loss_share})[0];
    const double seconds = std::max(1e-9, std::chrono::duration<double>(Clock::now() - reported_.at).count());
    progress.loss = loss;
    progress.steps_per_s = double(state_.step - reported_.step) / seconds;
    progress.samples_per_s = double(state_.samples_seen - reported_.samples) / seconds;
    reported_ = {Clock::now(), state_.step, state_.samples_seen};
    progress_.step(progress);
    const auto exchange = steps_.engine().last_step();
    int64_t bytes = 0;
    for (const auto& bucket : exchange.buckets)
        bytes += bucket.on_wire;
    MetricsRow row{.event = "train",
                   .step = state_.step,
                   .epoch = sampler_.epoch(),
                   .wall_s = wall_s(),
                   .values = {{"train_multi_dataset_loss_step", loss},
                              {"lr-AdamW", outcome.lr},
                              {"grad_norm", outcome.optimizer.grad_norm},
                              {"rollout", double(n_rollout)},
                              {"steps_per_s", progress.steps_per_s},
                              {"samples_per_s", progress.samples_per_s},
                              {"gradient_bytes", double(bytes)},
                              {"gradient_exposed_s", exchange.exposed}}};
    for (const auto& means : {account_.take_means(CommPhase::Step), exposure_.take_means()})
        row.values.insert(row.values.end(), means.begin(), means.end());
    writer_.log(row);
}

void RunLoop::finish_epoch(int64_t n_rollout)
{
    const auto epoch = sampler_.epoch();
    if (job_.validation && (epoch + 1) % job_.settings.validate_every_epochs == 0)
        validate(job_.settings.task.validation_rollout.value_or(n_rollout));
    const auto loss_sum = job_.groups.world.sum(std::array{state_.epoch_loss_sum})[0];
    writer_.log({.event = "epoch",
                 .step = state_.step,
                 .epoch = epoch,
                 .wall_s = wall_s(),
                 .values = {{"train_multi_dataset_loss_epoch", loss_sum / double(state_.epoch_samples)},
                            {"rollout", double(n_rollout)}}});
    state_.epoch_loss_sum = 0;
    state_.epoch_samples = 0;
    sampler_.end_epoch();
    saved_step_ = -1; // a checkpoint of the last step is before the epoch's end
    if (auto due = cadence_.after_epoch(epoch); !due.empty())
        save(std::move(due));
}

void RunLoop::validate(int64_t n_rollout)
{
    const auto result =
        Validator(job_, state_.reference, hooks_, account_).run(state_.step, sampler_.epoch(), n_rollout, progress_);
    steps_.after_other_work();
    progress_.validated(result);
    hooks_.validated(result);
    MetricsRow row{
        .event = "validation", .step = result.step, .epoch = result.epoch, .wall_s = wall_s(), .values = result.values};
    const auto means = account_.take_means(CommPhase::ValidationBatch);
    row.values.insert(row.values.end(), means.begin(), means.end());
    writer_.log(row);
    if (options_.record == Record::Yes)
        recorder_.validation(result);
    reported_ = {Clock::now(), state_.step, state_.samples_seen};
}

void RunLoop::save(std::vector<std::string> cadences)
{
    auto state = state_;
    state.sampler = sampler_.state();
    state.wall_s = wall_s();
    state.metrics_bytes = writer_.log_bytes();
    state.epoch_loss_sum = job_.groups.world.sum(std::array{state_.epoch_loss_sum})[0];
    const auto compression = gather_compression(steps_.engine(), job_.groups.world);
    auto optimizer = steps_.optimizer().state();
    std::string failure;
    if (job_.is_first()) {
        optimizer.insert(optimizer.end(), compression.begin(), compression.end());
        auto json = to_json(state);
        json["fingerprint"] = fingerprint(job_.config, job_.training->variables());
        json["processors"] = processor_state(job_.datasets);
        json["arena_order"] = steps_.engine().order();
        json["exchange"] = compression_to_json(steps_.engine(), job_.groups.world);
        try {
            newest_ = writer_.save({.step = state_.step,
                                    .weights = state_of(*job_.model),
                                    .optimizer = std::move(optimizer),
                                    .state = std::move(json),
                                    .cadences = cadences});
            progress_.note(fmt::format("checkpoint {} ({})", newest_.string(), fmt::join(cadences, ", ")));
        } catch (const CheckpointError& e) {
            failure = e.what();
        }
    }
    parallel::meet(job_.groups.world, "the end of a checkpoint", patience_of(job_.config));
    failure = job_.groups.world.broadcast_bytes(failure, 0);
    GRADWIND_CHECK(failure.empty(), CheckpointError, "{}", failure);
    saved_step_ = state_.step;
}

double RunLoop::wall_s() const
{
    return state_.wall_s + std::chrono::duration<double>(Clock::now() - start_).count();
}

} // namespace gradwind::train
