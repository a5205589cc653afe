// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/task.h"

#include "gradwind/core/datetime.h"
#include "gradwind/core/error.h"

#include <algorithm>
#include <cctype>

namespace gradwind::train
{

namespace
{

int64_t at_least(const Config& config, const char* key, int64_t fallback, int64_t least)
{
    const auto value = config.get<int64_t>(key, fallback);
    GRADWIND_CHECK(value >= least, ConfigError, "[task] expected at least {} for {}, found {}", least,
                   config.at(key).where(), value);
    return value;
}

} // namespace

std::vector<int64_t> ForecasterTask::offsets_s(int64_t n_rollout) const
{
    std::vector<int64_t> result;
    for (int64_t i = 1 - n_step_input; i <= n_rollout * n_step_output; ++i)
        result.push_back(i * timestep_s);
    return result;
}

std::vector<int64_t> ForecasterTask::relative_indices(int64_t frequency_s, int64_t n_rollout) const
{
    GRADWIND_CHECK(
        frequency_s > 0, ConfigError,
        "[task] the period of a data set holds one date only, a sample needs {}; check its `start` and `end`",
        offsets_s(n_rollout).size());
    GRADWIND_CHECK(timestep_s % frequency_s == 0, ConfigError,
                   "[task] expected `task.timestep` to be a multiple of the data set's frequency {}, found {}; change "
                   "`task.timestep` or `data.frequency`",
                   frequency_to_string(frequency_s), frequency_to_string(timestep_s));
    auto result = offsets_s(n_rollout);
    for (auto& offset : result)
        offset /= frequency_s;
    return result;
}

ForecasterTask ForecasterTask::from_config(const Config& task)
{
    GRADWIND_CHECK(!task.has("_target_") || task.target() == "Forecaster", ConfigError,
                   "[task] expected `Forecaster` for {}, found `{}`: other tasks are not there yet",
                   task.at("_target_").where(), task.target());
    ForecasterTask result;
    result.n_step_input = at_least(task, "multistep_input", 2, 1);
    result.n_step_output = at_least(task, "multistep_output", 1, 1);
    auto timestep = task.get<std::string>("timestep", "6h");
    // Packaged configurations write "6H".
    std::transform(timestep.begin(), timestep.end(), timestep.begin(), [](unsigned char c) { return std::tolower(c); });
    result.timestep_s = parse_frequency(timestep);
    result.rollout.start = at_least(task, "rollout.start", 1, 1);
    result.rollout.epoch_increment = at_least(task, "rollout.epoch_increment", 0, 0);
    result.rollout.maximum = at_least(task, "rollout.maximum", 1, 1);
    if (task.has("validation_rollout"))
        result.validation_rollout = at_least(task, "validation_rollout", 1, 1);
    return result;
}

} // namespace gradwind::train
