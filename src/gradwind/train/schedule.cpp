// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace gradwind::train
{

double CosineSchedule::at(int64_t step) const
{
    if (step < warmup_steps)
        return double(step) * (lr / double(warmup_steps));
    if (step >= period_steps)
        return lr_min;
    return lr_min + 0.5 * (lr - lr_min) * (1.0 + std::cos(std::numbers::pi * double(step) / double(period_steps)));
}

int64_t RolloutSchedule::at(int64_t epoch) const
{
    if (epoch_increment <= 0)
        return start;
    return std::max(start, std::min(maximum, start + epoch / epoch_increment));
}

double effective_lr(double lr, LrScaling scaling, int64_t world, int64_t ranks_per_replica)
{
    return scaling == LrScaling::None ? lr : double(world) * lr / double(ranks_per_replica);
}

} // namespace gradwind::train
