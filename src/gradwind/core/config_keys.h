// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The parts of the table of keys, one source file each; config_schema.h puts them together.
#pragma once
#include "gradwind/core/config_schema.h"

namespace gradwind
{

std::span<const KeySpec> system_keys();
std::span<const KeySpec> data_keys();
std::span<const KeySpec> dataloader_keys();
std::span<const KeySpec> graph_keys();
std::span<const KeySpec> model_keys();
std::span<const KeySpec> task_keys();
std::span<const KeySpec> training_keys();
std::span<const KeySpec> diagnostics_keys();

std::vector<TargetSpec> data_targets();
std::vector<TargetSpec> graph_targets();
std::vector<TargetSpec> model_targets();
std::vector<TargetSpec> layer_targets();
std::vector<TargetSpec> training_targets();
std::vector<TargetSpec> loss_targets();
std::vector<TargetSpec> scaler_targets();

} // namespace gradwind
