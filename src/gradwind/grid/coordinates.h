// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Positions of grid points as files and grid definitions give them.
#pragma once
#include <cstddef>
#include <vector>

namespace gradwind::grid
{

/// Points on the sphere in degrees; both vectors have one entry per point.
struct Coordinates {
    std::vector<double> lat_deg;
    std::vector<double> lon_deg;
    [[nodiscard]] size_t size() const { return lat_deg.size(); }
};

} // namespace gradwind::grid
