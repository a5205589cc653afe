// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Fields that follow from place and time alone: coordinates, season, time of day, sunshine.
#pragma once
#include "gradwind/data/source.h"

namespace gradwind::data
{

/// Names that forcing_source() can compute, sorted.
[[nodiscard]] const std::vector<std::string>& forcing_names();

/// Cosine of the solar zenith angle at an instant, clipped at 0 below the horizon; declination and equation of time
/// are Fourier series in the fraction of the year (365.25 days), the hour angle uses the whole hour of the date.
[[nodiscard]] std::vector<double> cos_solar_zenith_angle(int64_t date, std::span<const double> latitudes,
                                                         std::span<const double> longitudes);

/// One forcing at a date, in double precision; angles of coordinates in degrees, as SourceGrid has them.
/// @throws ConfigError for a name that is not in forcing_names()
[[nodiscard]] std::vector<double> compute_forcing(const std::string& name, int64_t date, const SourceGrid& grid);

/// The named forcings on a grid, the same for every member.
/// @throws ConfigError for an unknown name
[[nodiscard]] std::unique_ptr<Source> forcing_source(const std::vector<std::string>& names, const SourceGrid& grid,
                                                     const std::vector<int64_t>& members);

} // namespace gradwind::data
