// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// All that the processes of a job will hand to collectives in a step, before it is started.
#pragma once
#include "gradwind/parallel/group.h"
#include "gradwind/train/step_traffic.h"

namespace gradwind::train
{

/// What one process hands to one kind of collective of one group: what a run counts as `comm/<group>/<verb>_bytes`.
struct PredictedBytes {
    std::string group;
    parallel::Verb verb = parallel::Verb::AllReduce;
    int64_t step = 0;             ///< in an optimiser step that has all its samples
    int64_t validation_batch = 0; ///< in a batch of validation that has all its samples
};

struct JobTraffic {
    StepTraffic step;
    ReadingPlan reading; ///< of the processes that read with rank 0
    /// By rank for the processes of an ensemble or, without one, of a model: the others of the job are like these, but
    /// for the buffers that rank 0 alone sends. Only what is above zero.
    std::vector<std::vector<PredictedBytes>> ranks;
};

/// Counts gradients, halos and heads of a shared model, members and fields of losses and metrics, cells that readers
/// hand over, and buffers. Not what happens once: the order of gradients (and of shared moments) after the first step,
/// sums for the log and at the end of a validation, checkpoints.
/// @throws ConfigError, DataError as outline_job(), and as building the losses
[[nodiscard]] JobTraffic predict_job_traffic(const Config& config, const parallel::Layout& layout);

} // namespace gradwind::train
