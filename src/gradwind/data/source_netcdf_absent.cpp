// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/error.h"
#include "gradwind/data/source_files.h"

namespace gradwind::data
{

std::unique_ptr<Source> netcdf_source(const Config& config, const std::filesystem::path&)
{
    throw ConfigError(fmt::format("[dataset] {}: this build cannot read netCDF; build with libnetcdf "
                                  "(libnetcdf-dev, -DGRADWIND_WITH_NETCDF=ON)",
                                  config.where()));
}

} // namespace gradwind::data
