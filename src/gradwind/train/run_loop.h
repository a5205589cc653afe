// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Epochs, steps, validations, log and checkpoints of one run.
#pragma once
#include "gradwind/train/checkpoint_cadence.h"
#include "gradwind/train/comm_account.h"
#include "gradwind/train/exposure.h"
#include "gradwind/train/job.h"
#include "gradwind/train/recorder.h"
#include "gradwind/train/run_writer.h"
#include "gradwind/train/step_runner.h"
#include "gradwind/train/stop_poll.h"
#include "gradwind/train/stop_signal.h"
#include "gradwind/train/timeline.h"
#include "gradwind/train/trainer.h"
#include "gradwind/train/validator.h"

#include <chrono>

namespace gradwind::train
{

class RunLoop
{
public:
    /// @param checkpoint, resumed  where the run goes on, in its own folder (`options.resume`) or in a new one; null
    ///        and nothing for a run that begins
    /// @collective all ranks
    RunLoop(Job job, const TrainOptions& options, const Reference& reference, const Checkpoint* checkpoint,
            const std::optional<RunState>& resumed, ProgressSink& progress);
    TrainResult run();

private:
    using Clock = std::chrono::steady_clock;

    void restore(const Checkpoint& checkpoint);
    void plan_run();
    [[nodiscard]] bool finished() const;
    [[nodiscard]] std::vector<int64_t> anchors_of(int64_t n_rollout) const;
    /// Anchors of this rank's batches from the next step to the end of the epoch.
    [[nodiscard]] std::vector<std::vector<int64_t>> remaining_batches(const std::vector<int64_t>& anchors) const;
    void train_epoch();
    void after_step(const StepOutcome& outcome, int64_t n_rollout);
    void report(const StepOutcome& outcome, int64_t n_rollout);
    void finish_epoch(int64_t n_rollout);
    void validate(int64_t n_rollout);
    /// One line in the log and a table in the run folder: what of the exchange was exposed, and who came last.
    void report_exposure();
    void write_timeline();
    void save(std::vector<std::string> cadences);
    [[nodiscard]] double wall_s() const;

    Job job_;
    TrainOptions options_;
    StepHooks no_hooks_;
    StepHooks& hooks_;
    CommAccount account_;
    ExposureAccount exposure_;
    Timeline timeline_;
    ProgressSink& progress_;
    RunState state_;
    CosineSchedule schedule_;
    StepRunner steps_;
    Sampler sampler_;
    RunWriter writer_;
    CadenceClock cadence_;
    StopSignal signal_;
    StopPoll poll_;
    Recorder recorder_;
    Clock::time_point start_ = Clock::now();
    int64_t n_steps_in_run_ = 0;
    struct Reported {
        Clock::time_point at = Clock::now();
        int64_t step = 0, samples = 0;
    } reported_;
    int64_t saved_step_ = -1;
    std::filesystem::path newest_;
    bool interrupted_ = false;
};

} // namespace gradwind::train
