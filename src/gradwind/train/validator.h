// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Loss and metrics on held-out dates, beside persistence.
#pragma once
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
    /// @param job, hooks  must outlive this
    Validator(const Job& job, const Reference& reference, StepHooks& hooks)
        : job_(job), reference_(reference), hooks_(hooks)
    {
    }
    /// @collective all ranks @return equal on all ranks
    [[nodiscard]] ValidationResult run(int64_t step, int64_t epoch, int64_t n_rollout, ProgressSink& progress) const;

private:
    const Job& job_;
    Reference reference_;
    StepHooks& hooks_;
};

} // namespace gradwind::train
