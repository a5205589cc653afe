// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// HEALPix pixels in nested numbering.
#pragma once
#include "gradwind/grid/coordinates.h"

#include <cstdint>
#include <vector>

namespace gradwind::grid
{

/// Centres of the 12 * 4^resolution pixels. @throws ConfigError unless 0 <= resolution <= 12
[[nodiscard]] Coordinates healpix_grid(int64_t resolution);

/// For every pixel the pixels that share a side or a corner with it, ascending: 8, or 7 at the eight corners where only
/// three base pixels meet, fewer at resolution 0.
[[nodiscard]] std::vector<std::vector<int32_t>> healpix_neighbours(int64_t resolution);

} // namespace gradwind::grid
