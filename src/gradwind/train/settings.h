// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What a configuration says about training, read once and checked.
#pragma once
#include "gradwind/core/config.h"
#include "gradwind/train/adamw.h"
#include "gradwind/train/checkpoint.h"
#include "gradwind/train/sampler.h"
#include "gradwind/train/schedule.h"
#include "gradwind/train/task.h"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace gradwind::train
{

enum class Precision { Float32, Float64, Bf16Mixed };

/// The base seed of a run and who set it (design §4 "Determinism").
struct BaseSeed {
    uint64_t value = 42;
    std::string source = "default";
};

/// One stage of `dataloader`.
struct StageSettings {
    std::string name; ///< "training" or "validation"
    int64_t batch_size = 1;
    int64_t n_workers = 1;
    BatchLimit limit;
};

/// When checkpoints are written; absent: never.
struct CheckpointCadence {
    bool enabled = true;
    std::optional<double> minutes;
    std::optional<int64_t> epochs;
    std::optional<int64_t> steps;
    Retention retention;
};

/// `diagnostics.timeline`: steps whose timeline is written.
struct TimelineSettings {
    int64_t first_step = 10; ///< steps of this process before: the first ones allocate and learn
    int64_t steps = 0;       ///< 0: none
};

struct TrainSettings {
    std::vector<std::string> dataset_names; ///< the keys below `data.datasets`
    ForecasterTask task;
    Precision precision = Precision::Float32;
    BaseSeed seed;
    bool deterministic = false;
    SampleOrder sample_order = SampleOrder::Global;
    Stream stream = Stream::Continued;
    StageSettings training, validation;
    int64_t prefetch_batches = 2;
    int64_t accumulation = 1;
    AdamWOptions optimizer;
    ClipOptions clip;
    CosineSchedule schedule; ///< with the configured rate, before scaling
    bool has_period = true;  ///< false: the period is the number of steps of the run
    LrScaling lr_scaling = LrScaling::Anemoi;
    std::optional<int64_t> max_steps, max_epochs;
    int64_t validate_every_epochs = 1;
    int64_t log_interval_steps = 100;
    CheckpointCadence checkpoint;
    TimelineSettings timeline;
    int64_t members_per_process = 1; ///< `training.ensemble_size_per_device`

    /// @param environment  variables of the process (ANEMOI_BASE_SEED, SLURM_JOB_ID)
    /// @throws ConfigError naming the key, where it is written and what would work
    [[nodiscard]] static TrainSettings from_config(const Config& config,
                                                   const std::map<std::string, std::string>& environment);
};

/// `training.seed`, else ANEMOI_BASE_SEED, else 42; `training.seed: anemoi` asks SLURM_JOB_ID first, as the original.
[[nodiscard]] BaseSeed resolve_base_seed(const Config& config, const std::map<std::string, std::string>& environment);

} // namespace gradwind::train
