// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Which destinations of a rank need none of the halo. No communication, no torch.
#pragma once
#include "gradwind/parallel/partition.h"

namespace gradwind::parallel
{

/// By rank, how many of its destinations have no source on another rank. @param src, dst  one per edge, in any order
[[nodiscard]] std::vector<int64_t> count_interior(const Partition& sources, const Partition& destinations,
                                                  std::span<const int32_t> src, std::span<const int32_t> dst);

/// Of the rank that has least of them: interior destinations over all of its own; 1 where nobody has a destination.
[[nodiscard]] double least_interior_share(std::span<const int64_t> interior, const Partition& destinations);

} // namespace gradwind::parallel
