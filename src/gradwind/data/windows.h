// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Which positions of a data set can be the anchor of a sample.
#pragma once
#include "gradwind/data/dataset.h"

namespace gradwind::data
{

/// Positions p for which every p + relative_indices[i] lies in the series and is not missing (spec §10.2), ascending.
/// @param relative_indices steps of the data set's frequency, such as -1, 0, 1
[[nodiscard]] std::vector<int64_t> valid_anchors(const Dataset& dataset, std::span<const int64_t> relative_indices);

} // namespace gradwind::data
