// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Areas of Voronoi cells.
#pragma once
#include <span>
#include <vector>

namespace gradwind::grid
{

/// Area on the unit sphere of the cell of each point; the areas add up to 4 pi. Of points that coincide, one has the
/// cell and the others have area 0. @param lat_rad, lon_rad  radians
/// @throws DataError if the points span no sphere (fewer than four, or all on one circle)
[[nodiscard]] std::vector<double> spherical_cell_areas(std::span<const float> lat_rad, std::span<const float> lon_rad);

/// Area in the (latitude, longitude) plane, in square radians, of the cell of each point, as anemoi-graphs 0.9.8
/// defines it (spec §1.6): longitudes are counted from their circular mean; where a cell is unbounded or has a corner
/// further away than 1.2 times the median distance to the neighbouring points, the area of the nearest point with a
/// good cell is taken. All ones if no cell is good.
[[nodiscard]] std::vector<double> planar_cell_areas(std::span<const float> lat_rad, std::span<const float> lon_rad);

} // namespace gradwind::grid
