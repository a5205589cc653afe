// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/trainer.h"

#include "gradwind/core/error.h"
#include "gradwind/train/job.h"
#include "gradwind/train/run_config.h"
#include "gradwind/train/run_loop.h"
#include "gradwind/train/warm_start.h"

namespace gradwind::train
{

namespace
{

/// Effective rate and batch that a resumed run keeps, or those of the configuration and its layout.
Reference choose_reference(const Job& job, const TrainOptions& options, const std::optional<RunState>& resumed)
{
    if (!resumed)
        return options.reference.value_or(reference_of(job));
    GRADWIND_CHECK(job.settings.sample_order == SampleOrder::Global ||
                       resumed->reference.n_replicas == job.groups.layout.replicas(),
                   ConfigError,
                   "[train] expected {} replicas as in the run that goes on, found {}: dataloader.sample_order=anemoi "
                   "gives every layout other samples; resume on as many processes as before",
                   resumed->reference.n_replicas, job.groups.layout.replicas());
    return resumed->reference;
}

std::string describe(const Job& job, const Reference& reference)
{
    const auto& layout = job.groups.layout;
    return fmt::format("{} process{} on {}: {} replica{}, effective batch {}, effective learning rate {:g} "
                       "({} x {:g}), base seed {} from {}",
                       layout.world(), layout.world() == 1 ? "" : "es", job.device.str(), layout.replicas(),
                       layout.replicas() == 1 ? "" : "s", reference.effective_batch, reference.effective_lr,
                       reference.effective_lr / job.settings.schedule.lr, job.settings.schedule.lr,
                       job.settings.seed.value, job.settings.seed.source);
}

/// A run folder has the graph that its weights belong to, however long the folder that it came from lives.
void keep_graph(const WarmStart& start, const Config& config, const std::filesystem::path& run_dir)
{
    const auto graph = start.graph();
    if (graph && !config.has("system.input.graph"))
        std::filesystem::copy_file(*graph, run_dir / kRunGraph);
}

/// Where a run goes on, its own checkpoint or that of the run it forks from. Both need the same network.
RunState state_to_go_on_with(const Checkpoint& checkpoint, const Job& job, const TrainOptions& options)
{
    const auto& state = checkpoint.state;
    const auto where = (checkpoint.folder / "state.json").string();
    GRADWIND_CHECK(
        state.contains("format") || !state.contains("imported"), CheckpointError,
        "[train] {} was imported from Anemoi without what a training goes on with ({}); begin a run with its "
        "weights: system.input.warm_start={} training.load_weights_only=true",
        checkpoint.folder.string(), state["imported"].value("not_resumable", "it has no optimiser"),
        checkpoint.folder.string());
    auto result = run_state_from_json(state, where);
    // Another program spells the same network otherwise: its variables and the shapes of its weights tell.
    if (state.contains("imported") && !options.resume)
        check_variables(state, job.datasets, where);
    else
        check_fingerprint(fingerprint_of(state), fingerprint(job.config, job.training->variables()), where);
    if (!options.resume) {
        result.wall_s = 0; // its log begins anew
        result.metrics_bytes = 0;
    }
    return result;
}

/// What a user may want to know about a run that goes on.
void describe_continuation(const Checkpoint& checkpoint, const Job& job, const RunState& state,
                           const TrainOptions& options, std::vector<std::string>& notes)
{
    if (options.resume) {
        notes.push_back(fmt::format("going on from {}", checkpoint.folder.string()));
        return;
    }
    notes.push_back(fmt::format("a fork of {} at step {}, epoch {}: weights, optimiser, schedule and samples are its",
                                checkpoint.folder.string(), state.step, state.sampler.epoch));
    const auto configured = reference_of(job).effective_lr;
    if (configured != state.reference.effective_lr)
        notes.push_back(
            fmt::format("it keeps the effective learning rate {:g}; the configuration would have {:g}, which "
                        "training.load_weights_only=true takes",
                        state.reference.effective_lr, configured));
}

TrainResult train(const Config& config, const parallel::Environment& environment, const TrainOptions& options,
                  ProgressSink& progress)
{
    std::vector<std::string> notes;
    auto job = make_job(config, environment, options.variables, notes);
    std::optional<Checkpoint> checkpoint;
    std::optional<RunState> resumed;
    const auto start = WarmStart::from_config(config);
    const bool forks = start && start->take == WarmStart::Take::Everything;
    if (options.resume || forks) {
        checkpoint = Checkpoint::open(options.resume ? *options.resume : start->from);
        resumed = state_to_go_on_with(*checkpoint, job, options);
        job.settings.seed = resumed->seed;
        describe_continuation(*checkpoint, job, *resumed, options, notes);
    } else if (start) {
        begin_from(*start, job, notes);
    }
    const auto reference = choose_reference(job, options, resumed);
    notes.push_back(describe(job, reference));
    if (job.is_first())
        for (const auto& note : notes)
            progress.note(note);
    NoProgress nobody;
    TrainResult result;
    // The others learn what ended this process, not only that it is gone.
    const auto world = job.groups.world;
    parallel::run_supervised(world, [&] {
        RunLoop loop(std::move(job), options, reference, checkpoint ? &*checkpoint : nullptr, resumed,
                     environment.rank == 0 ? progress : nobody);
        if (start && !options.resume && environment.rank == 0)
            keep_graph(*start, config, options.run_dir);
        result = loop.run();
    });
    return result;
}

} // namespace

TrainResult run_training(const Config& config, const parallel::Environment& environment, const TrainOptions& options,
                         ProgressSink& progress)
{
    return train(config, environment, options, progress);
}

} // namespace gradwind::train
