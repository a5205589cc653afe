// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What training sees of a data set: dates x members x cells x variables of float32, and what describes them.
#pragma once
#include "gradwind/core/variables.h"

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace gradwind::data
{

/// Cells [begin, end).
struct CellRange {
    int64_t begin = 0;
    int64_t end = 0;
    [[nodiscard]] int64_t count() const { return end - begin; }
};

/// Which cells of the grid before it an option kept: Anemoi's `thinning_mask`, `cropping_mask`, `trimedge_mask`.
struct CellMask {
    std::string name;
    std::vector<char> kept;
};

/// The description of a data set.
struct DatasetInfo {
    std::string name; ///< path of the store, for messages
    std::vector<std::string> variables;
    std::vector<int64_t> dates; ///< seconds since 1970-01-01 00:00 UTC, equally spaced
    std::vector<char> missing;  ///< per date: 1 if there are no data for it
    int64_t frequency_s = 0;    ///< 0 where only one date is left
    int64_t n_members = 1;
    std::vector<double> latitudes, longitudes; ///< [cell], degrees
    Statistics statistics;                     ///< as stored: never recomputed after a selection of dates or cells
    std::string resolution;                    ///< "o96", "0.25"; empty where the store does not know
    std::vector<int64_t> field_shape;          ///< of the grid; `area` leaves it as it was
    std::vector<std::string> constant_fields;
    std::shared_ptr<const nlohmann::json> variables_metadata;
    std::vector<CellMask> masks; ///< in the order in which they were applied
};

/// A data set that can be read from several threads at once.
class Dataset
{
public:
    virtual ~Dataset() = default;
    [[nodiscard]] const DatasetInfo& info() const { return info_; }
    [[nodiscard]] const std::vector<std::string>& variables() const { return info_.variables; }
    [[nodiscard]] const std::vector<int64_t>& dates() const { return info_.dates; }
    [[nodiscard]] const std::vector<char>& missing() const { return info_.missing; }
    [[nodiscard]] int64_t frequency_s() const { return info_.frequency_s; }
    [[nodiscard]] int64_t n_dates() const { return int64_t(info_.dates.size()); }
    [[nodiscard]] int64_t n_variables() const { return int64_t(info_.variables.size()); }
    [[nodiscard]] int64_t n_members() const { return info_.n_members; }
    [[nodiscard]] int64_t n_cells() const { return int64_t(info_.latitudes.size()); }
    [[nodiscard]] const std::vector<double>& latitudes() const { return info_.latitudes; }
    [[nodiscard]] const std::vector<double>& longitudes() const { return info_.longitudes; }
    [[nodiscard]] const Statistics& statistics() const { return info_.statistics; }
    [[nodiscard]] const std::string& resolution() const { return info_.resolution; }
    [[nodiscard]] const std::vector<int64_t>& field_shape() const { return info_.field_shape; }
    [[nodiscard]] const std::vector<std::string>& constant_fields() const { return info_.constant_fields; }
    /// Per variable: mars keys, units, `constant_in_time` and the like; an object, empty where the store has none.
    [[nodiscard]] const nlohmann::json& variables_metadata() const;

    /// Statistics of x(t + delta) - x(t), where the store has them for this delta. @throws DataError if they are
    /// damaged
    [[nodiscard]] virtual std::optional<Statistics> statistics_tendencies(int64_t delta_s) const;

    /// Position of the chunk row that holds a date: dates with the same one are cheapest read together.
    [[nodiscard]] virtual int64_t decode_group(int64_t position) const { return position; }

    /// Reads some dates, each to its own place.
    ///
    /// @param dates positions, in any order
    /// @param cells of this data set, after masking
    /// @param out   one pointer per date to [member, cell, variable] float32; other types are converted
    /// @throws DataError for a missing date ("Date ... is missing (index=...)"), one out of range, or a damaged chunk
    virtual void read_dates(std::span<const int64_t> dates, CellRange cells, std::span<float* const> out) const = 0;

    /// The same to one contiguous array [date, member, cell, variable].
    void read(std::span<const int64_t> dates, CellRange cells, std::span<float> out) const;

protected:
    explicit Dataset(DatasetInfo info);
    /// @throws DataError for a position out of range or missing, or cells out of range
    void check_request(std::span<const int64_t> dates, CellRange cells) const;

private:
    DatasetInfo info_;
};

} // namespace gradwind::data
