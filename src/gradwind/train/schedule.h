// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Learning rate and rollout length over a run.
#pragma once
#include <cstdint>

namespace gradwind::train
{

/// Linear warm-up from zero, then a cosine whose period includes the warm-up. @source spec §11, §16.4
struct CosineSchedule {
    double lr = 0.625e-4;
    double lr_min = 3e-7;
    int64_t warmup_steps = 1000;
    int64_t period_steps = 150000;
    /// The rate that optimiser step number `step` (from 0) uses; the first step of a warm-up has rate 0.
    [[nodiscard]] double at(int64_t step) const;
};

/// How many model steps a training sample spans in each epoch. @source spec §9 (0.19)
struct RolloutSchedule {
    int64_t start = 1;
    int64_t epoch_increment = 0; ///< one step more every so many epochs; 0: never
    int64_t maximum = 1;
    [[nodiscard]] int64_t at(int64_t epoch) const;
};

/// `training.optimization.lr_scaling`.
enum class LrScaling { Anemoi, None };

/// The rate of a job: Anemoi multiplies `lr` by the number of replicas, i.e. world / processes of one replica (a model
/// group, or an ensemble group in ensemble training). @source spec §11
[[nodiscard]] double effective_lr(double lr, LrScaling scaling, int64_t world, int64_t ranks_per_replica);

} // namespace gradwind::train
