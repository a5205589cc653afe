// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Unit vectors and distances on the sphere.
#pragma once
#include <cstddef>
#include <span>
#include <vector>

namespace gradwind::grid
{

/// The radius by which Anemoi turns kilometres into angles (spec §1.4).
constexpr double kEarthRadiusKm = 6371.0;

/// Points on the unit sphere in single precision, x y z after each other: what neighbour search works on (spec §1.1).
struct UnitVectors {
    std::vector<float> xyz;
    [[nodiscard]] size_t size() const { return xyz.size() / 3; }
    [[nodiscard]] const float* operator[](size_t i) const { return xyz.data() + 3 * i; }
};

[[nodiscard]] UnitVectors unit_vectors(std::span<const float> lat_rad, std::span<const float> lon_rad);

/// The points with the given indices.
[[nodiscard]] UnitVectors select(const UnitVectors& points, std::span<const int> indices);

/// Straight-line distance in double precision.
[[nodiscard]] double chord(const float* a, const float* b);

/// Great-circle distance in radians of two points whose chord is given.
[[nodiscard]] double arc_of_chord(double chord);

/// Chord of an arc of so many kilometres on the Earth.
[[nodiscard]] double chord_of_arc_km(double km);

} // namespace gradwind::grid
