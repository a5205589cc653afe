// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Where a comparison of runs looks into the steps, and where tests plant faults.
#pragma once
#include "gradwind/parallel/gradient_engine.h"
#include "gradwind/train/batch_feeder.h"
#include "gradwind/train/progress.h"
#include "gradwind/train/sampler.h"

#include <cstdint>
#include <vector>

namespace gradwind::train
{

struct Job;
struct StepOutcome;

/// Called on every rank from the training thread. Who only looks must not change what it is given.
class StepHooks
{
public:
    virtual ~StepHooks() = default;
    /// Parameters lie in the engine, equal on all ranks.
    virtual void started(Job&, parallel::GradientEngine&) {}
    /// Anchors of this rank's batches from here to the end of the epoch; nothing has been read yet.
    virtual void planned(std::vector<std::vector<int64_t>>& /*batches*/) {}
    /// What this rank is about to work on in one step.
    virtual void chosen(StepSamples&) {}
    /// A batch in the values of the data set.
    virtual void was_read(RawBatch&) {}
    /// Gradients are summed over all ranks, the weights still those of the step before.
    virtual void summed(parallel::GradientEngine&) {}
    /// The optimiser is done.
    virtual void updated(parallel::GradientEngine&, const StepOutcome&) {}
    /// How many samples a validation batch counts for in the metrics.
    virtual void weighed(double& /*n_samples*/) {}
    virtual void validated(const ValidationResult&) {}
};

} // namespace gradwind::train
