// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// `training.strategy`: how gradients are exchanged.
#pragma once
#include "gradwind/core/config.h"
#include "gradwind/parallel/engine_options.h"

namespace gradwind::train
{

/// Bucket caps, wire type and compression of `training.strategy`.
/// Compression starts after the warm-up of the learning rate unless the configuration says otherwise.
/// @throws ConfigError naming the key; for broadcast_buffers with a model over several processes
[[nodiscard]] parallel::EngineOptions exchange_settings(const Config& config);

} // namespace gradwind::train
