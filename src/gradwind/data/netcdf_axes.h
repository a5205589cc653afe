// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What the axes of a netCDF variable mean: by CF attributes, by usual names, or as a recipe says.
#pragma once
#include "gradwind/core/config.h"
#include "gradwind/data/netcdf_file.h"
#include "gradwind/data/source.h"

namespace gradwind::data
{

/// The roles of a variable's dimensions.
struct NetcdfAxes {
    SourceGrid grid;
    std::vector<size_t> space;       ///< positions of the dimensions of the grid, in order
    std::optional<size_t> time;      ///< position of the time dimension; none for a constant field
    std::vector<int64_t> dates;      ///< seconds since 1970, one per time
    std::optional<size_t> level;     ///< position of a vertical dimension that has a coordinate
    std::vector<double> levels;      ///< one per level
    std::optional<size_t> member;    ///< position of an ensemble dimension
    std::vector<int64_t> members{0}; ///< numbers of the members
};

/// @return nothing if the variable has no horizontal grid
/// @throws DataError for an axis that cannot be read, or a dimension longer than one without a known meaning
[[nodiscard]] std::optional<NetcdfAxes> netcdf_axes(const NetcdfFile& file, const NetcdfFile::Variable& variable,
                                                    const Config& recipe);

} // namespace gradwind::data
