// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Full and reduced Gaussian grids.
#pragma once
#include "gradwind/grid/coordinates.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace gradwind::grid
{

/// Latitudes in degrees of the 2N rows of a Gaussian grid, north to south: arcsines of the roots of the Legendre
/// polynomial of degree 2N, exactly symmetric. @throws ConfigError unless 1 <= n_per_hemisphere <= 16384
[[nodiscard]] std::vector<double> gaussian_latitudes(int64_t n_per_hemisphere);

/// The reduced Gaussian grid with the given number of points in each row, north to south; each row starts at longitude
/// 0 and runs east. @param points_per_row 2N entries @throws ConfigError for an odd number of rows or an empty row
[[nodiscard]] Coordinates reduced_gaussian_grid(std::span<const int64_t> points_per_row);

/// The octahedral grid oN: 20 + 4i points in the i-th row from either pole, 4N(N+9) in all.
[[nodiscard]] Coordinates octahedral_grid(int64_t n_per_hemisphere);

/// Points per row of the classical reduced grid nN, from the tables of ecCodes.
/// @throws ConfigError if ecCodes has no table for N, or if this build has no ecCodes
[[nodiscard]] std::vector<int64_t> classical_row_lengths(int64_t n_per_hemisphere);

/// A grid by name: "o96" (by formula) or "n320" (from ecCodes); upper or lower case (spec §1.2).
/// @throws ConfigError for any other name
[[nodiscard]] Coordinates named_gaussian_grid(const std::string& name);

} // namespace gradwind::grid
