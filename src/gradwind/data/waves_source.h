// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The generator `planetary_waves` of recipes.
#pragma once
#include "gradwind/core/config.h"
#include "gradwind/data/source.h"

namespace gradwind::data
{

/// Global fields with a known future (waves.h):
///   grid         oN, nN (reduced Gaussian), ROWSxCOLUMNS (regular, poles left out), or {latitudes, longitudes}: points
///   param        among u, v, z, q, psi (named with the level: u_500) and sp; default u, v, z, q, sp
///   level        hPa, part of the names (500)
///   zonal_speed  m/s at the equator (20)
///   waves        [{n, m, amplitude, phase}], amplitude in m/s, phase in degrees; or the count of random ones (8)
///   max_n, wind, seed   of random waves: largest total wavenumber (8), root mean square wind (12 m/s), seed (1)
///   noise        standard deviation of noise as a fraction of each variable's (0)
/// The waves start at the first date. @throws ConfigError
[[nodiscard]] std::unique_ptr<Source> planetary_waves_source(const Config& config, std::span<const int64_t> dates);

} // namespace gradwind::data
