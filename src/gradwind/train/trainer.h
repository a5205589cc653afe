// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// A training from its configuration to its last checkpoint.
#pragma once
#include "gradwind/core/config.h"
#include "gradwind/parallel/launch.h"
#include "gradwind/train/comm_account.h"
#include "gradwind/train/progress.h"
#include "gradwind/train/run_state.h"

#include <filesystem>
#include <optional>

namespace gradwind::train
{

class StepHooks;

/// Whether every rank also writes what its steps did to `record_rank<r>.json`, in the form of the reference runs.
enum class Record { No, Yes };

struct TrainOptions {
    std::filesystem::path run_dir;
    /// Checkpoint, `checkpoints` folder or run folder to go on from.
    std::optional<std::filesystem::path> resume;
    /// Effective rate and batch of another layout, to be kept (design §4); a resumed run takes its checkpoint's.
    std::optional<Reference> reference;
    Record record = Record::No;
    /// Looks into every step; null: nobody does. Must outlive the training.
    StepHooks* hooks = nullptr;
    /// Environment variables that count for seeds.
    parallel::Variables variables = parallel::process_variables();
};

enum class TrainEnd { Finished, Interrupted };

struct TrainResult {
    TrainEnd end = TrainEnd::Finished;
    int64_t step = 0;
    double wall_s = 0;                ///< of this process
    std::filesystem::path checkpoint; ///< the newest; empty where none was written
    CommTotals communication;         ///< of this process
};

/// Runs a training, on this process alone or as one of a job.
///
/// Writes `config.yaml`, `metrics.jsonl`, `events` and `checkpoints` into the run folder (rank 0). A signal that asks
/// to stop (stop_signal.h) ends it after the current step with a checkpoint.
/// @collective all processes of the job
/// @throws ConfigError, DataError, CommError, CheckpointError
TrainResult run_training(const Config& config, const parallel::Environment& environment, const TrainOptions& options,
                         ProgressSink& progress);

} // namespace gradwind::train
