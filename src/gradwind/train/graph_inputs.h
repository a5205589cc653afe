// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What graph sections refer to, read from data sets.
#pragma once
#include "gradwind/graph/build.h"

namespace gradwind::train
{

/// Coordinates, grids and fields of data sets, opened by open_dataset when a builder asks.
[[nodiscard]] graph::GraphInputs graph_inputs();

} // namespace gradwind::train
