// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Which exchange of gradients is fastest for a model on this machine.
#pragma once
#include "gradwind/core/config.h"
#include "gradwind/parallel/launch.h"
#include "gradwind/train/progress.h"
#include "gradwind/tune/replay.h"
#include "gradwind/tune/trials.h"

namespace gradwind::tune
{

/// Measures the link and the steps, plans, and lets the candidates race: half of them leave after each round, the steps
/// of a round double; the default stays to the end. All ranks come to the same result.
/// @collective all ranks of world @throws CommError
[[nodiscard]] TuneReport race(Steps& steps, const parallel::Group& world, at::Device device, const TuneOptions& options,
                              train::ProgressSink& progress);

/// The same with steps of the model of a configuration on its first batch.
/// @collective all processes of the job @throws ConfigError, DataError, CommError
[[nodiscard]] TuneReport tune(const Config& config, const parallel::Environment& environment,
                              const TuneOptions& options, train::ProgressSink& progress);

} // namespace gradwind::tune
