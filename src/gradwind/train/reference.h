// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Effective rate and batch of a configuration.
#pragma once
#include "gradwind/parallel/layout.h"
#include "gradwind/train/run_state.h"

namespace gradwind::train
{

/// What a configuration means on a layout: Reference::effective_lr and the batches grow with its replicas.
[[nodiscard]] Reference reference_of(const TrainSettings& settings, const parallel::Layout& layout);

} // namespace gradwind::train
