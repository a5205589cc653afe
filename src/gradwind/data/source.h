// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Where the fields of a data set that is being created come from: files, formulas, generators.
#pragma once
#include <nlohmann/json.hpp>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace gradwind::data
{

/// The points of a source, in its own order.
struct SourceGrid {
    enum class Precision { Float32, Float64 };

    std::vector<double> latitudes;            ///< degrees
    std::vector<double> longitudes;           ///< degrees, as the source has them
    Precision precision = Precision::Float64; ///< type in which the source keeps its coordinates
    std::vector<int64_t> field_shape;         ///< {rows, columns} where there are any, else {points}
    nlohmann::json resolution;                ///< a number of degrees, a grid's name, or null (spec §14.3)
    nlohmann::json area;                      ///< [north, west, south, east], or null
    [[nodiscard]] int64_t size() const { return int64_t(latitudes.size()); }
};

/// One variable that a source offers.
struct SourceVariable {
    std::string name;
    nlohmann::json metadata; ///< its entry of `variables_metadata` (spec §14.3), without `constant_in_time`
};

/// What one entry of a recipe's input delivers. Reading keeps at most one field in memory.
class Source
{
public:
    /// Computed sources follow the grid and members of the others, and never lack a date.
    enum class Kind { Measured, Computed };

    virtual ~Source() = default;
    [[nodiscard]] virtual Kind kind() const { return Kind::Measured; }
    [[nodiscard]] virtual const SourceGrid& grid() const = 0;
    [[nodiscard]] virtual const std::vector<SourceVariable>& variables() const = 0;
    /// Numbers of the members, ascending; one entry for deterministic data.
    [[nodiscard]] virtual const std::vector<int64_t>& members() const = 0;
    /// Reads a variable (index into variables()) at a date (seconds since 1970) into `out`, member by member,
    /// members().size() x grid().size() values, NaN where there is none.
    /// @return false if the source holds nothing for this date @throws DataError if the file is damaged
    virtual bool read(size_t variable, int64_t date, std::span<float> out) = 0;
    /// "netcdf storm.nc", for messages.
    [[nodiscard]] virtual std::string describe() const = 0;
};

} // namespace gradwind::data
