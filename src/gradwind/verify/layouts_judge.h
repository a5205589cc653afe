// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Compares what the processes of a layout left with what the reference left.
#pragma once
#include "gradwind/verify/layouts_cases.h"
#include "gradwind/verify/report.h"

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <vector>

namespace gradwind::verify
{

/// @param reference  result of the one process of the reference
/// @param results    of every rank of the layout; null for a rank that left none (layouts_worker.h)
[[nodiscard]] CaseReport judge_layout(const LayoutCase& layout, const std::string& precision,
                                      const nlohmann::json& reference, const std::vector<nlohmann::json>& results);

} // namespace gradwind::verify
