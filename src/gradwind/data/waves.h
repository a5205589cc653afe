// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Planetary waves on a zonal flow: a global atmosphere of one layer whose future is known exactly.
//
// The flow rotates like a solid body, u = U cos(latitude), and carries linear Rossby-Haurwitz waves: solutions of the
// nondivergent barotropic vorticity equation linearised about it. A wave whose stream function is the spherical
// harmonic of total wavenumber n and zonal wavenumber m turns about the axis, without change of shape, at
//   w - 2 (W + w) / (n (n + 1))   radians a second,   w = U / a,
// with the planet's rotation W and radius a. The tracer is carried by the zonal flow alone and turns at w.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace gradwind::data
{

struct Wave {
    int n = 1;            ///< total wavenumber
    int m = 1;            ///< zonal wavenumber, 1..n
    double amplitude = 0; ///< root mean square wind speed of this wave over the sphere, m/s
    double phase = 0;     ///< radians
};

struct WaveFlow {
    double zonal_speed = 20;      ///< U at the equator, m/s
    double radius = 6.371e6;      ///< m
    double rotation = 7.29212e-5; ///< radians a second
    std::vector<Wave> waves;
};

enum class WaveField { StreamFunction, EastwardWind, NorthwardWind, Geopotential, SurfacePressure, Tracer };

/// A list of waves with 2 <= m <= n <= max_n drawn from a seed; root mean square wind of all together `wind` m/s.
[[nodiscard]] std::vector<Wave> random_waves(int count, int max_n, double wind, uint64_t seed);

/// The flow on a set of points. Tables per latitude are made once; a field then costs one cosine a wave and point.
class PlanetaryWaves
{
public:
    /// @param latitudes, longitudes degrees @throws ConfigError for a wave with m < 1, m > n or n > 200
    PlanetaryWaves(WaveFlow flow, std::span<const double> latitudes, std::span<const double> longitudes);

    /// Turning rate of a wave's pattern, radians a second, positive eastward.
    [[nodiscard]] double angular_speed(const Wave& wave) const;
    /// Turning rate of the zonal flow and of the tracer.
    [[nodiscard]] double zonal_angular_speed() const { return flow_.zonal_speed / flow_.radius; }

    /// A field at all points, `seconds` after the start.
    ///   StreamFunction m2/s; winds m/s, u = -dpsi/dy, v = dpsi/dx; Geopotential m2/s2: of the zonal flow in gradient
    ///   balance, of the waves in linear balance; SurfacePressure Pa: hydrostatic, linear in the geopotential;
    ///   Tracer kg/kg: three smooth plumes.
    void evaluate(WaveField field, double seconds, std::span<double> out) const;

private:
    /// Fully normalised Legendre functions of one wave at one latitude, times its amplitude as a stream function.
    struct Row {
        double value = 0;       ///< of degree n
        double slope = 0;       ///< derivative by latitude
        double over_cosine = 0; ///< value / cos(latitude), finite at the poles
        double balance = 0;     ///< what linear balance makes of it, divided by 2 W
    };
    [[nodiscard]] Row legendre(const Wave& wave, double latitude) const;
    [[nodiscard]] double background(WaveField field, double latitude) const;
    [[nodiscard]] double tracer(double latitude, double longitude) const;

    WaveFlow flow_;
    std::vector<double> latitudes_;        ///< distinct, radians
    std::vector<uint32_t> row_;            ///< by point: position in latitudes_
    std::vector<double> longitudes_;       ///< by point, radians
    std::vector<std::vector<Row>> tables_; ///< by wave, by row
};

} // namespace gradwind::data
