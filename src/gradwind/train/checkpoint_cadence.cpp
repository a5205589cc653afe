// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/checkpoint_cadence.h"

namespace gradwind::train
{

std::vector<std::string> CadenceClock::after_step(int64_t step, double minutes)
{
    std::vector<std::string> due;
    if (!cadence_.enabled)
        return due;
    if (cadence_.steps && step % *cadence_.steps == 0)
        due.emplace_back("step");
    if (cadence_.minutes && minutes - last_minutes_ >= *cadence_.minutes) {
        due.emplace_back("minutes");
        last_minutes_ = minutes;
    }
    return due;
}

std::vector<std::string> CadenceClock::after_epoch(int64_t epoch) const
{
    const bool due = cadence_.enabled && cadence_.epochs && (epoch + 1) % *cadence_.epochs == 0;
    return due ? std::vector<std::string>{"epoch"} : std::vector<std::string>{};
}

} // namespace gradwind::train
