// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Loss and metrics on held-out dates, beside persistence.
#pragma once
#include "gradwind/train/comm_account.h"
#include "gradwind/train/job.h"
#include "gradwind/train/progress.h"
#include "gradwind/train/step_hooks.h"

namespace gradwind::train
{

/// Runs the validation batches of all replicas. Means are over samples, whichever rank had them (spec §7.7).
///
/// Beside the original's names: `val_<data set>_rmse/<variable>/<step>` and `..._persistence/...`, in the variable's
/// units, area-weighted as the metrics are.
class Validator
{
public:
    /// @param job, hooks  must outlive this @param account  told of every batch
    Validator(const Job& job, const Reference& reference, StepHooks& hooks, CommAccount& account)
        : job_(job), reference_(reference), hooks_(hooks), account_(account)
    {
    }
    /// @collective all ranks @return equal on all ranks
    [[nodiscard]] ValidationResult run(int64_t step, int64_t epoch, int64_t n_rollout, ProgressSink& progress) const;

private:
    const Job& job_;
    Reference reference_;
    StepHooks& hooks_;
    CommAccount& account_;
};

/// How often a validation evaluates a metric in a rollout step: for the mean square errors of forecast and persistence
/// by variable, too.
[[nodiscard]] int64_t evaluations_of(const loss::ValidationMetric& metric);

} // namespace gradwind::train
