// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Sources that read files; each is absent (and says so) in a build without its library.
#pragma once
#include "gradwind/core/config.h"
#include "gradwind/data/source.h"

#include <filesystem>

namespace gradwind::data
{

/// The files that `path` of a source names: one string or a list, "*", "?" and "{a,b}" expanded, relative to `folder`,
/// sorted within each pattern. @throws DataError if a pattern matches nothing
[[nodiscard]] std::vector<std::filesystem::path> source_paths(const Config& source,
                                                              const std::filesystem::path& folder);

/// Fields of netCDF files (any format libnetcdf reads), with CF coordinates or with what the recipe says of them:
///   path, param         files, and variables to take (all that have a grid if absent)
///   rename              {name in the file: name in the data set}
///   units               {name in the file: unit}
///   missing_value       a number that means "no data", beside _FillValue and missing_value of the file
///   time                {start, frequency, dimension}: for files without a CF time axis
///   latitude, longitude names of the coordinate variables, or {first, last} of an even axis
///   levelist            levels to take of variables on levels
/// @throws DataError, ConfigError
[[nodiscard]] std::unique_ptr<Source> netcdf_source(const Config& config, const std::filesystem::path& folder);

/// Fields of GRIB files: `path`, and any key of ecCodes' mars namespace with one value or a list (`param`, `levelist`,
/// `number`, ...). Messages of one source share one grid, regular or reduced.
/// @throws DataError, ConfigError
[[nodiscard]] std::unique_ptr<Source> grib_source(const Config& config, const std::filesystem::path& folder);

} // namespace gradwind::data
