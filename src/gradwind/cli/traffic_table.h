// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What a job will hand to collectives, as a table.
#pragma once
#include "gradwind/train/job_traffic.h"

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <vector>

namespace gradwind::cli
{

/// Lines of a table: bytes by group and collective of the first process, whose log has the same names, and of the
/// busiest one, in an optimiser step and in a batch of validation. Nothing for a job of one process.
[[nodiscard]] std::vector<std::string> traffic_table(const train::JobTraffic& traffic);

/// The same for programs.
[[nodiscard]] nlohmann::json traffic_json(const train::JobTraffic& traffic);

} // namespace gradwind::cli
