// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/grid/sphere.h"

#include <algorithm>
#include <cmath>

#include "gradwind/grid/threads.h"

namespace gradwind::grid
{

UnitVectors unit_vectors(std::span<const float> lat_rad, std::span<const float> lon_rad)
{
    UnitVectors points;
    points.xyz.resize(3 * lat_rad.size());
    for_each_chunk(static_cast<int64_t>(lat_rad.size()), [&](int64_t begin, int64_t end) {
        for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
            const double lat = lat_rad[i];
            const double lon = lon_rad[i];
            points.xyz[3 * i] = static_cast<float>(std::cos(lat) * std::cos(lon));
            points.xyz[3 * i + 1] = static_cast<float>(std::cos(lat) * std::sin(lon));
            points.xyz[3 * i + 2] = static_cast<float>(std::sin(lat));
        }
    });
    return points;
}

UnitVectors select(const UnitVectors& points, std::span<const int> indices)
{
    UnitVectors selected;
    selected.xyz.reserve(3 * indices.size());
    for (const int i : indices) {
        const float* point = points[static_cast<size_t>(i)];
        selected.xyz.insert(selected.xyz.end(), point, point + 3);
    }
    return selected;
}

double chord(const float* a, const float* b)
{
    const double dx = static_cast<double>(a[0]) - b[0];
    const double dy = static_cast<double>(a[1]) - b[1];
    const double dz = static_cast<double>(a[2]) - b[2];
    return std::sqrt(dx * dx + dy * dy + dz * dz);
}

double arc_of_chord(double chord)
{
    return 2 * std::asin(std::min(1.0, chord / 2));
}

double chord_of_arc_km(double km)
{
    return 2 * std::sin(km / (2 * kEarthRadiusKm));
}

} // namespace gradwind::grid
