// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// When a checkpoint is due.
#pragma once
#include "gradwind/train/settings.h"

#include <string>
#include <vector>

namespace gradwind::train
{

/// Follows a run and says which cadences want a checkpoint now.
class CadenceClock
{
public:
    explicit CadenceClock(const CheckpointCadence& cadence) : cadence_(cadence) {}
    /// After a step. @param minutes  since the run (or this part of it) began, equal on all ranks
    [[nodiscard]] std::vector<std::string> after_step(int64_t step, double minutes);
    /// After an epoch and its validation. @param epoch  the one that ended, from 0
    [[nodiscard]] std::vector<std::string> after_epoch(int64_t epoch) const;

private:
    CheckpointCadence cadence_;
    double last_minutes_ = 0;
};

} // namespace gradwind::train
