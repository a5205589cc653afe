// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The layout that a configuration asks for.
#pragma once
#include "gradwind/core/config.h"
#include "gradwind/parallel/layout.h"

namespace gradwind::parallel
{

/// Reads system.hardware and training.strategy, which wins where both are set. A strategy of the name
/// DDPEnsGroupStrategy or EnsembleTraining makes an ensemble job.
/// @throws ConfigError for values of a wrong type
[[nodiscard]] LayoutOptions layout_from(const Config& config);

} // namespace gradwind::parallel
