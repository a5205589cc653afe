// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What the exchange of gradients will take of a process, as tables and JSON.
#pragma once
#include "gradwind/train/step_traffic.h"

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <vector>

namespace gradwind::cli
{

/// Collectives of a step by group; nothing in a world of one.
[[nodiscard]] std::vector<std::string> exchange_table(const parallel::ExchangeBudget& exchange);
[[nodiscard]] nlohmann::json exchange_json(const parallel::ExchangeBudget& exchange);

/// Memory of a process that does not depend on its samples.
[[nodiscard]] std::vector<std::string> memory_table(const train::StepTraffic& traffic);
[[nodiscard]] nlohmann::json memory_json(const train::StepTraffic& traffic);

} // namespace gradwind::cli
