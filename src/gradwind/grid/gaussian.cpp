// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/grid/gaussian.h"

#include <cmath>
#include <numbers>

#include "gradwind/core/error.h"

namespace gradwind::grid
{

namespace
{

constexpr int64_t kMaxRowsPerHemisphere = 16384;

struct Legendre {
    double value;
    double derivative;
};

/// P_n and its derivative at x = sin(latitude), |x| < 1, by the three-term recurrence.
Legendre legendre(int64_t n, double x)
{
    double before = 1;
    double value = x;
    for (int64_t k = 2; k <= n; ++k) {
        const double next = ((2.0 * k - 1) * x * value - (k - 1.0) * before) / static_cast<double>(k);
        before = value;
        value = next;
    }
    return {value, static_cast<double>(n) * (before - x * value) / (1 - x * x)};
}

} // namespace

std::vector<double> gaussian_latitudes(int64_t n_per_hemisphere)
{
    GRADWIND_CHECK(n_per_hemisphere >= 1 && n_per_hemisphere <= kMaxRowsPerHemisphere, ConfigError,
                   "[grid] a Gaussian grid needs 1 to {} rows per hemisphere, got {}", kMaxRowsPerHemisphere,
                   n_per_hemisphere);
    const int64_t degree = 2 * n_per_hemisphere;
    std::vector<double> latitudes(static_cast<size_t>(degree));
    for (int64_t i = 0; i < n_per_hemisphere; ++i) {
        double x = std::cos(std::numbers::pi * (static_cast<double>(i) + 0.75) / (static_cast<double>(degree) + 0.5));
        for (int iteration = 0; iteration < 10; ++iteration) { // quadratic: 3 or 4 are enough
            const Legendre p = legendre(degree, x);
            const double step = p.value / p.derivative;
            x -= step;
            if (std::abs(step) < 1e-16)
                break;
        }
        const double latitude = std::asin(x) * 180 / std::numbers::pi;
        latitudes[static_cast<size_t>(i)] = latitude;
        latitudes[static_cast<size_t>(degree - 1 - i)] = -latitude;
    }
    return latitudes;
}

Coordinates reduced_gaussian_grid(std::span<const int64_t> points_per_row)
{
    GRADWIND_CHECK(!points_per_row.empty() && points_per_row.size() % 2 == 0, ConfigError,
                   "[grid] a reduced Gaussian grid has an even number of rows, got {}", points_per_row.size());
    const std::vector<double> latitudes = gaussian_latitudes(static_cast<int64_t>(points_per_row.size() / 2));
    Coordinates grid;
    for (size_t row = 0; row < points_per_row.size(); ++row) {
        const int64_t n_points = points_per_row[row];
        GRADWIND_CHECK(n_points > 0, ConfigError, "[grid] row {} of a reduced Gaussian grid has {} points", row,
                       n_points);
        for (int64_t i = 0; i < n_points; ++i) {
            grid.lat_deg.push_back(latitudes[row]);
            grid.lon_deg.push_back(360.0 * static_cast<double>(i) / static_cast<double>(n_points));
        }
    }
    return grid;
}

Coordinates octahedral_grid(int64_t n_per_hemisphere)
{
    GRADWIND_CHECK(n_per_hemisphere >= 1 && n_per_hemisphere <= kMaxRowsPerHemisphere, ConfigError,
                   "[grid] an octahedral grid needs 1 to {} rows per hemisphere, got {}", kMaxRowsPerHemisphere,
                   n_per_hemisphere);
    std::vector<int64_t> points_per_row;
    for (int64_t row = 0; row < 2 * n_per_hemisphere; ++row)
        points_per_row.push_back(20 + 4 * std::min(row, 2 * n_per_hemisphere - 1 - row));
    return reduced_gaussian_grid(points_per_row);
}

Coordinates named_gaussian_grid(const std::string& name)
{
    const bool octahedral = !name.empty() && (name[0] == 'o' || name[0] == 'O');
    const bool classical = !name.empty() && (name[0] == 'n' || name[0] == 'N');
    const std::string number = name.empty() ? "" : name.substr(1);
    const bool digits =
        !number.empty() && number.size() <= 5 && number.find_first_not_of("0123456789") == std::string::npos;
    GRADWIND_CHECK((octahedral || classical) && digits, ConfigError,
                   "[grid] expected the name of a reduced Gaussian grid, such as o96 or n320, got `{}`", name);
    const int64_t n = std::stoll(number);
    if (octahedral)
        return octahedral_grid(n);
    return reduced_gaussian_grid(classical_row_lengths(n));
}

} // namespace gradwind::grid
