// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What the gradient engine takes of a processor.
#pragma once
#include "gradwind/parallel/group.h"

namespace gradwind::bench
{

/// Microseconds and allocations of a step of 1000 small parameters, as a JSON object on a line.
/// @collective all ranks of world
void print_host_time(const parallel::Group& world);

} // namespace gradwind::bench
