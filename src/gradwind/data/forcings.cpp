// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/data/forcings.h"

#include "gradwind/core/datetime.h"
#include "gradwind/core/error.h"
#include "gradwind/core/text.h"

#include <algorithm>
#include <cmath>
#include <fmt/ranges.h>
#include <functional>
#include <map>
#include <numbers>

namespace gradwind::data
{

namespace
{

constexpr double degree = std::numbers::pi / 180.0;
constexpr double days_per_year = 365.25;
constexpr double seconds_per_day = 86400.0;

/// Days since the first of January, 00 UTC, of the same year.
double day_of_year(int64_t date)
{
    const int64_t new_year = CivilTime{CivilTime::from_seconds(date).year}.seconds();
    return double(date - new_year) / seconds_per_day;
}

double season_angle(int64_t date)
{
    return day_of_year(date) / days_per_year * std::numbers::pi * 2.0;
}

/// Hours of local solar time as an angle, one turn a day.
double local_time_angle(int64_t date, double longitude)
{
    const double hours_utc = std::fmod(day_of_year(date), 1.0) * 24.0;
    double hours = std::fmod(longitude / 360.0 * 24.0 + hours_utc, 24.0);
    if (hours < 0)
        hours += 24.0;
    return hours / 24.0 * std::numbers::pi * 2.0;
}

using Forcing = std::function<std::vector<double>(int64_t, const SourceGrid&)>;

/// A forcing that is a function of each point's coordinates (latitude, longitude, date).
Forcing pointwise(double (*function)(double, double, int64_t))
{
    return [function](int64_t date, const SourceGrid& grid) {
        std::vector<double> out(size_t(grid.size()));
        for (size_t i = 0; i < out.size(); ++i)
            out[i] = function(grid.latitudes[i], grid.longitudes[i], date);
        return out;
    };
}

/// A forcing that is the same everywhere.
Forcing uniform(double (*function)(double))
{
    return [function](int64_t date, const SourceGrid& grid) {
        return std::vector<double>(size_t(grid.size()), function(season_angle(date)));
    };
}

const std::map<std::string, Forcing>& forcings()
{
    static const std::map<std::string, Forcing> all = {
        {"latitude", pointwise([](double lat, double, int64_t) { return lat; })},
        {"longitude", pointwise([](double, double lon, int64_t) { return lon; })},
        {"cos_latitude", pointwise([](double lat, double, int64_t) { return std::cos(lat * degree); })},
        {"sin_latitude", pointwise([](double lat, double, int64_t) { return std::sin(lat * degree); })},
        {"cos_longitude", pointwise([](double, double lon, int64_t) { return std::cos(lon * degree); })},
        {"sin_longitude", pointwise([](double, double lon, int64_t) { return std::sin(lon * degree); })},
        {"cos_local_time",
         pointwise([](double, double lon, int64_t date) { return std::cos(local_time_angle(date, lon)); })},
        {"sin_local_time",
         pointwise([](double, double lon, int64_t date) { return std::sin(local_time_angle(date, lon)); })},
        {"cos_julian_day", uniform([](double angle) { return std::cos(angle); })},
        {"sin_julian_day", uniform([](double angle) { return std::sin(angle); })},
        {"insolation",
         [](int64_t date, const SourceGrid& grid) {
             return cos_solar_zenith_angle(date, grid.latitudes, grid.longitudes);
         }},
        {"cos_solar_zenith_angle",
         [](int64_t date, const SourceGrid& grid) {
             return cos_solar_zenith_angle(date, grid.latitudes, grid.longitudes);
         }},
    };
    return all;
}

class ForcingSource : public Source
{
public:
    ForcingSource(const std::vector<std::string>& names, SourceGrid grid, std::vector<int64_t> members)
        : grid_(std::move(grid)), members_(std::move(members))
    {
        for (const auto& name : names) {
            GRADWIND_CHECK(forcings().contains(name), ConfigError, "[dataset] `{}` is not a forcing{}; there are {}",
                           name, did_you_mean(name, forcing_names()), fmt::join(forcing_names(), ", "));
            variables_.push_back({name, {{"computed_forcing", true}, {"units", "dimensionless"}}});
        }
    }

    [[nodiscard]] Kind kind() const override { return Kind::Computed; }
    [[nodiscard]] const SourceGrid& grid() const override { return grid_; }
    [[nodiscard]] const std::vector<SourceVariable>& variables() const override { return variables_; }
    [[nodiscard]] const std::vector<int64_t>& members() const override { return members_; }
    [[nodiscard]] std::string describe() const override { return "forcings"; }

    bool read(size_t variable, int64_t date, std::span<float> out) override
    {
        const auto values = compute_forcing(variables_.at(variable).name, date, grid_);
        GRADWIND_ASSERT(out.size() == values.size() * members_.size());
        for (size_t member = 0; member < members_.size(); ++member)
            std::ranges::transform(values, out.begin() + ptrdiff_t(member * values.size()),
                                   [](double value) { return float(value); });
        return true;
    }

private:
    SourceGrid grid_;
    std::vector<int64_t> members_;
    std::vector<SourceVariable> variables_;
};

} // namespace

const std::vector<std::string>& forcing_names()
{
    static const std::vector<std::string> names = [] {
        std::vector<std::string> out;
        for (const auto& [name, forcing] : forcings())
            out.push_back(name);
        return out;
    }();
    return names;
}

std::vector<double> cos_solar_zenith_angle(int64_t date, std::span<const double> latitudes,
                                           std::span<const double> longitudes)
{
    const double a = season_angle(date);
    const double declination =
        degree * (0.396372 - 22.91327 * std::cos(a) + 4.025430 * std::sin(a) - 0.387205 * std::cos(2 * a) +
                  0.051967 * std::sin(2 * a) - 0.154527 * std::cos(3 * a) + 0.084798 * std::sin(3 * a));
    const double equation_of_time = 0.004297 + 0.107029 * std::cos(a) - 1.837877 * std::sin(a) -
                                    0.837378 * std::cos(2 * a) - 2.340475 * std::sin(2 * a);
    const double noon_offset = (CivilTime::from_seconds(date).hour - 12) * 15.0;
    const double sin_declination = std::sin(declination);
    const double cos_declination = std::cos(declination);
    std::vector<double> out(latitudes.size());
    for (size_t i = 0; i < out.size(); ++i) {
        const double latitude = latitudes[i] * degree;
        const double hour_angle = (noon_offset + longitudes[i] + equation_of_time) * degree;
        out[i] = std::max(0.0, sin_declination * std::sin(latitude) +
                                   cos_declination * std::cos(latitude) * std::cos(hour_angle));
    }
    return out;
}

std::vector<double> compute_forcing(const std::string& name, int64_t date, const SourceGrid& grid)
{
    const auto found = forcings().find(name);
    GRADWIND_CHECK(found != forcings().end(), ConfigError, "[dataset] `{}` is not a forcing", name);
    return found->second(date, grid);
}

std::unique_ptr<Source> forcing_source(const std::vector<std::string>& names, const SourceGrid& grid,
                                       const std::vector<int64_t>& members)
{
    return std::make_unique<ForcingSource>(names, grid, members);
}

} // namespace gradwind::data
