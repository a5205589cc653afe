// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// `training.strategy` and its plan file: how gradients are exchanged.
#pragma once
#include "gradwind/core/config.h"
#include "gradwind/parallel/engine_options.h"

#include <filesystem>
#include <string>

namespace gradwind::train
{

/// Bucket caps, wire type, groups and compression of `training.strategy`; a node is what system.hardware says. What the
/// file `plan` names wins over them. Compression starts after the warm-up of the learning rate unless the configuration
/// says otherwise.
/// @throws ConfigError naming the key or the plan's line; for broadcast_buffers with a model over several processes
[[nodiscard]] parallel::EngineOptions exchange_settings(const Config& config);

/// A plan as `training.strategy.plan` takes it. @param comment  lines that say where it comes from
[[nodiscard]] std::string plan_to_yaml(const parallel::EngineOptions& options, const std::string& comment);

} // namespace gradwind::train
