// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// One optimiser step: forward and backward of this rank's samples, exchange of gradients, update.
#pragma once
#include "gradwind/parallel/gradient_engine.h"
#include "gradwind/parallel/watched_work.h"
#include "gradwind/train/batch_feeder.h"
#include "gradwind/train/job.h"
#include "gradwind/train/step_clock.h"
#include "gradwind/train/step_hooks.h"
#include "gradwind/train/step_recordings.h"

#include <optional>
#include <span>

namespace gradwind::train
{

/// What one step did on this rank.
struct StepOutcome {
    struct Batch {
        double loss = 0; ///< mean over this rank's own samples
        std::vector<int64_t> anchors;
        data::DecodingTime decoded{};
    };
    std::vector<Batch> batches;
    double loss_share = 0; ///< shares of all ranks add up to the loss of the step
    int64_t n_global = 0;
    double lr = 0;
    OptimizerStep optimizer;
    int non_finite_rank = -1; ///< of a skipped step: the first rank whose own gradients were not finite; -1: unknown
};

/// The model's parameters as the gradient engine wants them, in order of registration.
[[nodiscard]] std::vector<parallel::NamedParameter> trainable_parameters(const model::ForecastModel& model);
/// What `training.strategy` says about buckets. Nodes are those of the layout in effect: processes may be others than
/// system.hardware asks for. @param order  of the arena, from an earlier run, or empty
[[nodiscard]] parallel::EngineOptions engine_options(const Config& config, const parallel::Layout& layout,
                                                     at::Device device, std::vector<std::string> order);

class StepRunner
{
public:
    /// Moves the model's parameters into the engine's arena. @param job, hooks  must outlive this
    /// @param order  of the arena, from the checkpoint of the run that goes on; empty: learnt in the first step
    /// @collective all ranks
    StepRunner(Job& job, std::vector<std::string> order, StepHooks& hooks);

    /// @param feeder  gives this rank's batches that are not empty, in order
    /// @param step    number of this step in the run
    /// @collective all ranks @throws DataError if gradients are not finite because of the data; InternalError if many
    /// steps in a row have gradients that are not finite for another reason
    StepOutcome run(const StepSamples& samples, BatchFeeder& feeder, double lr, int64_t n_rollout, int64_t step);

    /// Validation, say, has been on the device, and steps go on.
    void after_other_work()
    {
        if (recordings_)
            recordings_->after_other_work();
    }

    [[nodiscard]] AdamW& optimizer() { return *optimizer_; }
    [[nodiscard]] parallel::GradientEngine& engine() { return engine_; }
    /// Of the phases of a step; runs where somebody starts it.
    [[nodiscard]] StepClock& clock() { return clock_; }

private:
    /// A batch in the model's units, and what is known of it while a device still works on it.
    struct Batch {
        std::vector<RolloutDataset> datasets; ///< empty once they were used
        std::vector<int64_t> positions;       ///< of its samples in the global batch
        std::vector<int64_t> anchors;
        data::DecodingTime decoded{};
        double to_mean = 1;
        at::Tensor share; ///< of the loss, no dimensions
    };
    [[nodiscard]] Batch next_batch(const MicroBatch& micro, BatchFeeder& feeder);
    /// @return the batch's share of the loss
    at::Tensor forward_and_backward(std::span<const RolloutDataset> datasets, const model::NoiseSource& noise,
                                    int64_t n_rollout, parallel::Sync sync);
    /// A micro-batch from reading to gradients.
    Batch run_batch(const MicroBatch& micro, BatchFeeder& feeder, int64_t n_rollout, parallel::Sync sync);
    /// From the first batch to summed gradients; the device may still be working on them.
    [[nodiscard]] std::vector<Batch> run_batches(const std::vector<const MicroBatch*>& own, BatchFeeder& feeder,
                                                 int64_t n_rollout);
    /// The same from a recording.
    [[nodiscard]] std::vector<Batch> repeat_batches(const std::vector<const MicroBatch*>& own, BatchFeeder& feeder,
                                                    int64_t n_rollout);
    /// Whether the next step goes through a recording. If not, it has the memory of all of them.
    [[nodiscard]] bool is_repeatable(const std::vector<const MicroBatch*>& own, int64_t n_rollout);
    /// Nothing: of no kind that could come again.
    [[nodiscard]] std::optional<StepRecordings::Kind> kind_of(const std::vector<const MicroBatch*>& own,
                                                              int64_t n_rollout) const;
    /// Rank 0's on all ranks: once at the start, and before every step if the configuration asks for it. Nothing for
    /// a model over several processes.
    void broadcast_buffers();
    /// Once on every rank, with samples or without.
    void meet_before_first_exchange();
    void follow_layout();
    /// After a step that was not applied: drops it, and finds out why and on which rank. Rare, and slow.
    void after_skip(const StepSamples& samples, int64_t n_rollout, StepOutcome& outcome);
    void explain_non_finite(const StepOutcome& outcome, int64_t n_rollout);
    /// Runs this rank's batches again, without exchange: sums do not tell who brought in what.
    void repeat_backward(const StepSamples& samples, const StepOutcome& outcome, int64_t n_rollout);
    [[nodiscard]] bool has_finite_gradients() const;

    Job& job_;
    StepHooks& hooks_;
    parallel::GradientEngine engine_;
    StepClock clock_;
    const bool broadcasts_buffers_;
    std::unique_ptr<AdamW> optimizer_;
    std::optional<StepRecordings> recordings_; ///< nothing: steps are not recorded
    std::optional<StepRecordings::Kind> kind_; ///< of the step under way
    /// What of a step is in no recording, where other ranks can keep a GPU waiting; nothing: they cannot.
    std::optional<parallel::WatchedWork> watched_;
    int64_t layout_version_ = 0;
    int64_t last_rollout_ = 0;
    bool is_first_ = false; ///< the step is the first of this process
    int64_t step_ = 0;      ///< number in the run of the step under way
    int64_t n_skipped_in_a_row_ = 0;
};

} // namespace gradwind::train
