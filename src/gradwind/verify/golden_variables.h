// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Variable table and statistics as the case.json of a golden case describes them.
#pragma once
#include "gradwind/core/variables.h"

#include <nlohmann/json.hpp>

namespace gradwind::verify
{

/// The table of `variables`: [{name, role, dataset_index, ...}] in dataset order. @throws DataError
[[nodiscard]] VariableTable variables_of_case(const nlohmann::json& description);

/// {mean, stdev, minimum, maximum}: one number per variable each. @throws DataError
[[nodiscard]] Statistics statistics_of_json(const nlohmann::json& json);

} // namespace gradwind::verify
