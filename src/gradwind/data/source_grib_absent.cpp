// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/error.h"
#include "gradwind/data/source_files.h"

namespace gradwind::data
{

std::unique_ptr<Source> grib_source(const Config& config, const std::filesystem::path&)
{
    throw ConfigError(fmt::format("[dataset] {}: this build cannot read GRIB; build with ecCodes (libeccodes-dev, "
                                  "-DGRADWIND_WITH_ECCODES=ON)",
                                  config.where()));
}

} // namespace gradwind::data
