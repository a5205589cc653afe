// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What a user wants to know of a data set before a run.
#pragma once
#include "gradwind/data/dataset.h"

#include <iosfwd>
#include <nlohmann/json_fwd.hpp>

namespace gradwind::data
{

enum class Checksum { Skip, Compute };

/// The description of a data set after its options: shape, dates, variables with statistics, grid, storage, and which
/// variables have NaN on the first date that is not missing (that date is read, and with a checksum all of them).
/// @return an object whose keys are the JSON interface of `gradwind dataset inspect --json`
/// @throws DataError for a damaged chunk
[[nodiscard]] nlohmann::json describe(const Dataset& dataset, Checksum checksum);

/// The same for people.
void print_description(const nlohmann::json& description, std::ostream& out);

} // namespace gradwind::data
