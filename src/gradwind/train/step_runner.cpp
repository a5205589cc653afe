// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/step_runner.h"

#include "gradwind/core/error.h"
#include "gradwind/train/batch_check.h"
#include "gradwind/train/exchange_settings.h"
#include "gradwind/train/step_loss.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

namespace gradwind::train
{

namespace
{

// A single step without finite gradients may be an accident of reduced precision; this many are not.
constexpr int64_t kMostSkippedSteps = 20;

} // namespace

std::vector<parallel::NamedParameter> trainable_parameters(const model::ForecastModel& model)
{
    std::vector<parallel::NamedParameter> result;
    for (const auto& item : model.named_parameters())
        if (item.value().requires_grad())
            result.push_back({item.key(), item.value()});
    return result;
}

parallel::EngineOptions engine_options(const Config& config, const parallel::Layout& layout, at::Device device,
                                       std::vector<std::string> order)
{
    auto options = exchange_settings(config);
    options.order = std::move(order);
    if (config.get<bool>("training.strategy.hierarchical", false))
        options.node_size = layout.options().gpus_per_node;
    // A model is spread over GPUs to save the memory that copies would take.
    options.copy_engines = config.get<bool>("training.strategy.copy_engines", true) && device.is_cuda() &&
                           layout.options().nodes == 1 && layout.model_size() == 1;
    return options;
}

StepRunner::StepRunner(Job& job, std::vector<std::string> order, StepHooks& hooks)
    : job_(job), hooks_(hooks), engine_(trainable_parameters(*job.model), job.groups.world,
                                        engine_options(job.config, job.groups.layout, job.device, std::move(order))),
      clock_(job.device), broadcasts_buffers_(job.config.get<bool>("training.strategy.broadcast_buffers", false))
{
    engine_.broadcast_parameters();
    broadcast_buffers();
    hooks_.started(job_, engine_);
    optimizer_ = std::make_unique<AdamW>(engine_.slices(), engine_.flat_parameters(), engine_.own_gradients(),
                                         job.settings.optimizer, job.settings.clip, engine_.state_share());
    layout_version_ = engine_.layout_version();
    if (records_steps(job.config, job.device))
        recordings_.emplace([device = job.device, timeout = timeout_of(job.config)](const auto* beside) {
            return std::make_unique<parallel::RecordedWork>(device, timeout, beside);
        });
    if (!job.device.is_cpu() && job.groups.world.size() > 1)
        watched_.emplace(job.device, timeout_of(job.config));
}

StepOutcome StepRunner::run(const StepSamples& samples, BatchFeeder& feeder, double lr, int64_t n_rollout, int64_t step)
{
    step_ = step;
    // Some ranks take much longer than others until their first step, and for its first forward pass.
    is_first_ = last_rollout_ == 0;
    if (is_first_)
        parallel::meet(job_.groups.world, "the first step", patience_of(job_.config));
    else if (last_rollout_ != n_rollout)
        engine_.expect_new_graph();
    last_rollout_ = n_rollout;
    StepOutcome outcome;
    outcome.n_global = samples.n_global;
    outcome.lr = lr;
    std::vector<const MicroBatch*> own;
    for (const auto& micro : samples.micro_batches)
        if (!micro.samples.empty())
            own.push_back(&micro);
    const bool repeats = is_repeatable(own, n_rollout);
    if (watched_ && !repeats)
        watched_->begin();
    if (broadcasts_buffers_)
        broadcast_buffers();
    auto batches = repeats ? repeat_batches(own, feeder, n_rollout) : run_batches(own, feeder, n_rollout);
    if (watched_ && repeats)
        watched_->begin(); // the update is in no recording
    follow_layout();
    clock_.ended(StepPhase::Exchange);
    hooks_.summed(engine_);
    optimizer_->queue(lr, engine_.gradient_pieces());
    engine_.share_parameters();
    // Only now does the host wait for a device, once a step.
    if (recordings_)
        recordings_->wait();
    if (watched_)
        watched_->wait();
    for (auto& batch : batches) {
        const double value = batch.share.item<double>();
        outcome.loss_share += value;
        outcome.batches.push_back({value * batch.to_mean, std::move(batch.anchors), batch.decoded});
    }
    outcome.optimizer = optimizer_->verdict();
    clock_.ended(StepPhase::Update);
    hooks_.updated(engine_, outcome);
    if (outcome.optimizer.applied)
        n_skipped_in_a_row_ = 0;
    else
        after_skip(samples, n_rollout, outcome);
    return outcome;
}

void StepRunner::after_skip(const StepSamples& samples, int64_t n_rollout, StepOutcome& outcome)
{
    if (recordings_)
        recordings_->drop(); // what follows needs their memory
    const bool compressed = engine_.compression_state().active;
    bool finite = !compressed || has_finite_gradients(); // what a rank did not send is still its own
    engine_.discard_step();
    explain_non_finite(outcome, n_rollout);
    if (!compressed) {
        repeat_backward(samples, outcome, n_rollout);
        finite = has_finite_gradients();
    }
    const auto words = job_.groups.world.all_gather_bytes(finite ? "" : "not finite");
    for (size_t rank = words.size(); rank-- > 0;)
        if (!words[rank].empty())
            outcome.non_finite_rank = int(rank);
}

void StepRunner::repeat_backward(const StepSamples& samples, const StepOutcome& outcome, int64_t n_rollout)
{
    std::vector<std::vector<int64_t>> batches;
    for (const auto& batch : outcome.batches)
        batches.push_back(batch.anchors);
    BatchFeeder feeder(
        *job_.training, batches,
        {.device = job_.device,
         .dtype = job_.dtype,
         .n_threads = 1,
         .prefetch_batches = 1,
         .relative_indices = job_.settings.task.relative_indices(job_.training->frequency_s(), n_rollout)});
    engine_.begin_step();
    for (const auto& micro : samples.micro_batches)
        if (!micro.samples.empty())
            (void)run_batch(micro, feeder, n_rollout, parallel::Sync::Accumulate);
}

bool StepRunner::has_finite_gradients() const
{
    return at::isfinite(engine_.own_gradients()).all().item<bool>();
}

bool StepRunner::is_repeatable(const std::vector<const MicroBatch*>& own, int64_t n_rollout)
{
    if (!recordings_)
        return false;
    kind_ = kind_of(own, n_rollout);
    if (!kind_)
        recordings_->drop();
    return kind_ && recordings_->takes(*kind_);
}

std::optional<StepRecordings::Kind> StepRunner::kind_of(const std::vector<const MicroBatch*>& own,
                                                        int64_t n_rollout) const
{
    const auto exchange = engine_.kind_of_next_step();
    if (!exchange || own.empty())
        return std::nullopt;
    StepRecordings::Kind kind{.n_rollout = n_rollout, .batches = {}, .exchange = *exchange};
    for (const auto* micro : own)
        kind.batches.emplace_back(int64_t(micro->samples.size()), micro->sample_weight);
    return kind;
}

std::vector<StepRunner::Batch> StepRunner::run_batches(const std::vector<const MicroBatch*>& own, BatchFeeder& feeder,
                                                       int64_t n_rollout)
{
    engine_.begin_step();
    std::vector<Batch> batches;
    for (const auto* micro : own)
        batches.push_back(run_batch(*micro, feeder, n_rollout,
                                    micro == own.back() ? parallel::Sync::Reduce : parallel::Sync::Accumulate));
    if (is_first_ && own.empty())
        meet_before_first_exchange();
    engine_.finish();
    return batches;
}

std::vector<StepRunner::Batch> StepRunner::repeat_batches(const std::vector<const MicroBatch*>& own,
                                                          BatchFeeder& feeder, int64_t n_rollout)
{
    std::vector<Batch> batches;
    StepRecordings::Inputs inputs;
    for (const auto* micro : own) {
        batches.push_back(next_batch(*micro, feeder));
        inputs.push_back(std::move(batches.back().datasets));
    }
    const auto step = [&](const StepRecordings::Inputs& of_recording) {
        StepRecordings::Shares shares;
        engine_.begin_step();
        for (const auto& datasets : of_recording)
            shares.push_back(forward_and_backward(datasets, NoNoise(), n_rollout,
                                                  &datasets == &of_recording.back() ? parallel::Sync::Reduce
                                                                                    : parallel::Sync::Accumulate));
        engine_.finish();
        return shares;
    };
    StepRecordings::Shares shares;
    if (recordings_->run(*kind_, inputs, step, shares) == StepRecordings::Was::Repeated)
        engine_.repeat_step();
    for (size_t i = 0; i < batches.size(); ++i)
        batches[i].share = shares[i];
    return batches;
}

StepRunner::Batch StepRunner::next_batch(const MicroBatch& micro, BatchFeeder& feeder)
{
    auto raw = feeder.next();
    clock_.ended(StepPhase::Read);
    hooks_.was_read(raw);
    const auto samples = job_.additive() ? std::optional(1.0 / micro.sample_weight) : std::nullopt;
    Batch batch;
    std::vector<model::BatchMasks> masks;
    batch.datasets = job_.prepare(*job_.training, raw.values, samples, masks);
    batch.positions.resize(micro.samples.size());
    std::iota(batch.positions.begin(), batch.positions.end(), micro.first_position);
    batch.to_mean = samples ? *samples / double(raw.anchors.size()) : 1;
    batch.anchors = std::move(raw.anchors);
    batch.decoded = raw.decoded;
    clock_.ended(StepPhase::Prepare);
    return batch;
}

StepRunner::Batch StepRunner::run_batch(const MicroBatch& micro, BatchFeeder& feeder, int64_t n_rollout,
                                        parallel::Sync sync)
{
    auto batch = next_batch(micro, feeder);
    const auto noise = job_.noise(NoisePurpose::Training, step_, std::move(batch.positions));
    const NoNoise none;
    batch.share = forward_and_backward(
        batch.datasets, recordings_ ? static_cast<const model::NoiseSource&>(none) : noise, n_rollout, sync);
    batch.datasets.clear();
    return batch;
}

at::Tensor StepRunner::forward_and_backward(std::span<const RolloutDataset> datasets, const model::NoiseSource& noise,
                                            int64_t n_rollout, parallel::Sync sync)
{
    at::Tensor share;
    {
        const AutocastGuard autocast(autocast_for(job_.settings.precision, job_.device));
        share = rollout_loss(*job_.model, datasets, job_.settings.task, n_rollout, {},
                             {job_.settings.members_per_process, &noise})
                    .total;
    }
    clock_.ended(StepPhase::Forward);
    if (is_first_ && sync == parallel::Sync::Reduce)
        meet_before_first_exchange();
    engine_.begin_backward(sync);
    share.backward();
    clock_.ended(StepPhase::Backward);
    return share.detach();
}

void StepRunner::meet_before_first_exchange()
{
    parallel::meet(job_.groups.world, "the first exchange of gradients", patience_of(job_.config));
}

void StepRunner::broadcast_buffers()
{
    if (job_.groups.layout.model_size() > 1)
        return; // each rank of a model holds its own part of the graph
    for (const auto& buffer : job_.model->buffers())
        job_.groups.world.broadcast_(buffer, 0);
}

void StepRunner::follow_layout()
{
    if (layout_version_ == engine_.layout_version())
        return;
    optimizer_->move_to(engine_.slices(), engine_.flat_parameters(), engine_.own_gradients(), engine_.state_share());
    layout_version_ = engine_.layout_version();
}

void StepRunner::explain_non_finite(const StepOutcome& outcome, int64_t n_rollout)
{
    // Read again what this rank had: the tensors of the step are gone, and this is rare.
    const auto relative = job_.settings.task.relative_indices(job_.training->frequency_s(), n_rollout);
    std::string own;
    for (const auto& batch : outcome.batches) {
        BatchFeeder feeder(*job_.training, {batch.anchors},
                           {.device = at::kCPU,
                            .dtype = at::kFloat,
                            .n_threads = 1,
                            .prefetch_batches = 1,
                            .relative_indices = relative,
                            .cells = FeederOptions::Cells::All});
        auto raw = feeder.next();
        for (size_t i = 0; i < raw.values.size(); ++i)
            (void)job_.datasets[i].processors.transform(raw.values[i], model::Space::Dataset);
        own = find_bad_value(raw, *job_.training, relative);
        if (!own.empty())
            break;
    }
    for (const auto& found : job_.groups.world.all_gather_bytes(own))
        GRADWIND_CHECK(found.empty(), DataError,
                       "[train] expected finite values in the training data, found: {}; cut the cells or dates away "
                       "(area, start, end, set_missing_dates), or add an imputer to data.datasets.<name>.processors",
                       found);
    ++n_skipped_in_a_row_;
    GRADWIND_CHECK(
        n_skipped_in_a_row_ < kMostSkippedSteps, DataError,
        "[train] the gradient of `{}` was not finite in {} steps in a row although the data are: the training "
        "has diverged; go back to an older checkpoint with a smaller training.optimization.lr, or clip by norm",
        outcome.optimizer.non_finite_parameter, n_skipped_in_a_row_);
}

} // namespace gradwind::train
