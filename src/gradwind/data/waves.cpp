// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/data/waves.h"

#include "gradwind/core/error.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>

namespace gradwind::data
{

namespace
{

constexpr double pi = std::numbers::pi;
constexpr double degree = pi / 180.0;
constexpr int max_degree = 200;
constexpr double mean_geopotential = 54000.0;  // about 500 hPa
constexpr double mean_pressure = 100000.0;     // Pa
constexpr double scale_geopotential = 82660.0; // R T of dry air at 288 K: geopotential over which pressure falls by e

/// Coupling of neighbouring degrees: mu P_n = c(n + 1) P_{n+1} + c(n) P_{n-1} for fully normalised functions.
double coupling(int n, int m)
{
    return std::sqrt((double(n) * n - double(m) * m) / (4.0 * n * n - 1.0));
}

/// A well mixed 64-bit function of a counter (the finaliser of splitmix64), as a number in [0, 1).
class Uniform
{
public:
    explicit Uniform(uint64_t seed) : state_(seed) {}
    double next()
    {
        uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
        z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27U)) * 0x94d049bb133111ebULL;
        z ^= z >> 31U;
        return double(z >> 11U) * 0x1.0p-53;
    }
    int between(int low, int high) { return low + int(next() * (high - low + 1)); }

private:
    uint64_t state_;
};

/// A plume of the tracer: a smooth bump about a point, falling off with the angle from it.
struct Plume {
    double latitude, longitude, width, amount;
};
constexpr std::array<Plume, 3> plumes = {
    {{0.0, 0.5 * pi, 0.35, 0.006}, {0.6, 1.4 * pi, 0.25, 0.004}, {-0.8, 0.1 * pi, 0.40, 0.005}}};

} // namespace

std::vector<Wave> random_waves(int count, int max_n, double wind, uint64_t seed)
{
    GRADWIND_CHECK(count >= 0 && max_n >= 2, ConfigError,
                   "[waves] {} waves up to total wavenumber {}: expected 0 or more, up to 2 or more", count, max_n);
    Uniform uniform(seed);
    std::vector<Wave> out;
    double energy = 0;
    for (int i = 0; i < count; ++i) {
        Wave wave;
        wave.n = uniform.between(2, max_n);
        wave.m = uniform.between(2, wave.n);
        wave.amplitude = 0.5 + uniform.next();
        wave.phase = 2 * pi * uniform.next();
        energy += wave.amplitude * wave.amplitude;
        out.push_back(wave);
    }
    for (auto& wave : out)
        wave.amplitude *= wind / std::sqrt(energy);
    return out;
}

PlanetaryWaves::PlanetaryWaves(WaveFlow flow, std::span<const double> latitudes, std::span<const double> longitudes)
    : flow_(std::move(flow))
{
    GRADWIND_ASSERT(latitudes.size() == longitudes.size());
    std::map<double, uint32_t> rows;
    for (size_t i = 0; i < latitudes.size(); ++i) {
        const auto [row, is_new] = rows.try_emplace(latitudes[i], uint32_t(latitudes_.size()));
        if (is_new)
            latitudes_.push_back(latitudes[i] * degree);
        row_.push_back(row->second);
        longitudes_.push_back(longitudes[i] * degree);
    }
    for (const auto& wave : flow_.waves) {
        GRADWIND_CHECK(wave.m >= 1 && wave.m <= wave.n && wave.n <= max_degree, ConfigError,
                       "[waves] a wave with total wavenumber n = {} and zonal wavenumber m = {}: expected "
                       "1 <= m <= n <= {}",
                       wave.n, wave.m, max_degree);
        std::vector<Row> table;
        for (const double latitude : latitudes_)
            table.push_back(legendre(wave, latitude));
        tables_.push_back(std::move(table));
    }
}

double PlanetaryWaves::angular_speed(const Wave& wave) const
{
    const double zonal = zonal_angular_speed();
    return zonal - 2.0 * (flow_.rotation + zonal) / (double(wave.n) * (wave.n + 1));
}

PlanetaryWaves::Row PlanetaryWaves::legendre(const Wave& wave, double latitude) const
{
    const int n = wave.n;
    const int m = wave.m;
    const double mu = std::sin(latitude);
    const double cosine = std::cos(latitude);
    // Up the diagonal, with one factor cos(latitude) left out, then up the degrees to n + 1.
    double sectoral = std::sqrt(3.0);
    for (int k = 2; k <= m; ++k)
        sectoral *= std::sqrt((2.0 * k + 1.0) / (2.0 * k)) * cosine;
    double below = 0;
    double here = sectoral;
    double before_here = 0;
    for (int k = m + 1; k <= n + 1; ++k) {
        const double next = (mu * here - (k - 1 > m ? coupling(k - 1, m) : 0.0) * before_here) / coupling(k, m);
        if (k == n + 1) {
            below = before_here;
            before_here = here;
            here = next;
            break;
        }
        before_here = here;
        here = next;
    }
    const double above = here;
    const double value = before_here;
    // The stream function whose wind has the root mean square `amplitude`.
    const double scale = wave.amplitude * flow_.radius / std::sqrt(double(n) * (n + 1));
    Row row;
    row.over_cosine = scale * value;
    row.value = row.over_cosine * cosine;
    row.slope = scale * (-n * mu * value + (2.0 * n + 1.0) * (n > m ? coupling(n, m) : 0.0) * below);
    row.balance =
        scale * cosine *
        (double(n) / (n + 1) * coupling(n + 1, m) * above + (n > m ? double(n + 1) / n * coupling(n, m) * below : 0.0));
    return row;
}

double PlanetaryWaves::background(WaveField field, double latitude) const
{
    const double a = flow_.radius;
    const double zonal = zonal_angular_speed();
    const double sine = std::sin(latitude);
    switch (field) {
    case WaveField::StreamFunction:
        return -a * a * zonal * sine;
    case WaveField::EastwardWind:
        return a * zonal * std::cos(latitude);
    case WaveField::NorthwardWind:
        return 0;
    case WaveField::Geopotential:
    case WaveField::SurfacePressure:
        // Mean over the sphere of sin^2 is a third.
        return mean_geopotential - a * a * zonal * (flow_.rotation + 0.5 * zonal) * (sine * sine - 1.0 / 3.0);
    case WaveField::Tracer:
        return 0;
    }
    return 0;
}

double PlanetaryWaves::tracer(double latitude, double longitude) const
{
    double out = 0.002;
    for (const auto& plume : plumes) {
        const double cos_angle = std::sin(latitude) * std::sin(plume.latitude) +
                                 std::cos(latitude) * std::cos(plume.latitude) * std::cos(longitude - plume.longitude);
        out += plume.amount * std::exp((cos_angle - 1.0) / (plume.width * plume.width));
    }
    return out;
}

void PlanetaryWaves::evaluate(WaveField field, double seconds, std::span<double> out) const
{
    GRADWIND_ASSERT(out.size() == row_.size());
    if (field == WaveField::Tracer) {
        for (size_t i = 0; i < out.size(); ++i)
            out[i] = tracer(latitudes_[row_[i]], longitudes_[i] - zonal_angular_speed() * seconds);
        return;
    }
    std::vector<double> zonal;
    for (const double latitude : latitudes_)
        zonal.push_back(background(field, latitude));
    for (size_t i = 0; i < out.size(); ++i)
        out[i] = zonal[row_[i]];
    for (size_t w = 0; w < tables_.size(); ++w) {
        const auto& wave = flow_.waves[w];
        const auto& table = tables_[w];
        const double shift = wave.phase - wave.m * angular_speed(wave) * seconds;
        for (size_t i = 0; i < out.size(); ++i) {
            const auto& row = table[row_[i]];
            const double angle = wave.m * longitudes_[i] + shift;
            switch (field) {
            case WaveField::StreamFunction:
                out[i] += row.value * std::cos(angle);
                break;
            case WaveField::EastwardWind:
                out[i] -= row.slope / flow_.radius * std::cos(angle);
                break;
            case WaveField::NorthwardWind:
                out[i] -= wave.m * row.over_cosine / flow_.radius * std::sin(angle);
                break;
            case WaveField::Geopotential:
            case WaveField::SurfacePressure:
                out[i] += 2.0 * flow_.rotation * row.balance * std::cos(angle);
                break;
            case WaveField::Tracer:
                break;
            }
        }
    }
    if (field == WaveField::SurfacePressure)
        for (auto& value : out)
            value = mean_pressure * (1.0 + (value - mean_geopotential) / scale_geopotential);
}

} // namespace gradwind::data
