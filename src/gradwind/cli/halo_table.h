// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What a model group exchanges, as a table.
#pragma once
#include "gradwind/train/step_traffic.h"

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <vector>

namespace gradwind::cli
{

/// Lines of a table: for both partitions and every part of the model the halo, what it costs in a layer beside the
/// all-gather that it replaces, and how even the work is. Nothing for a model on one process.
/// @param samples  of one replica in an optimiser step
[[nodiscard]] std::vector<std::string> halo_table(const train::StepTraffic& traffic, int64_t samples);

/// The same for programs.
[[nodiscard]] nlohmann::json halo_json(const train::StepTraffic& traffic, int64_t samples);

} // namespace gradwind::cli
