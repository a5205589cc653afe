// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What a data set recipe says. The format is that of anemoi-datasets, with the additions named here.
#pragma once
#include "gradwind/core/config.h"

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace gradwind::data
{

/// Which dates have no data.
enum class MissingDates {
    Declared,  ///< those in `dates.missing`; any other date must be complete
    Automatic, ///< `dates.missing: auto`: all where a source has nothing, or a field is wholly NaN
};

/// Which cells are cut away (`drop_missing_cells`).
enum class DropCells {
    None,
    NeverAvailable, ///< `true`: cells that are NaN at every date in some field
    EverMissing,    ///< `any`: cells that are NaN at some date in some field
};

/// Lengths of a chunk of `data`; 0 means the whole axis, and for the cells the rule of `grid_chunk`.
struct Chunking {
    int64_t dates = 1;
    int64_t ensembles = 1;
    int64_t variables = 0;
    int64_t values = 0;
    int64_t grid_splits = 4;
    int64_t min_bytes = int64_t(32) << 20;
    int64_t max_bytes = (int64_t(1) << 31) - 1;
};

/// A recipe, checked.
struct Recipe {
    Config source;                ///< as written, for the attribute `recipe`
    std::filesystem::path folder; ///< relative paths in the recipe start here
    std::string description;
    std::string licence;
    std::string attribution;

    std::vector<int64_t> dates; ///< every date, those that are missing too; seconds since 1970
    int64_t frequency = 0;      ///< seconds
    MissingDates missing_rule = MissingDates::Declared;
    std::vector<int64_t> missing; ///< declared missing dates, ascending

    int64_t statistics_start = 0;    ///< inclusive
    int64_t statistics_end = 0;      ///< inclusive
    std::vector<int64_t> tendencies; ///< time differences in seconds, ascending

    bool allow_all_nans = false;
    std::vector<std::string> allow_nans; ///< variables that may hold NaN
    DropCells drop_cells = DropCells::None;
    Chunking chunking;
    Config input;

    [[nodiscard]] bool may_hold_nan(const std::string& variable) const;
};

/// Reads a YAML recipe. @param overrides "key.path=value" in YAML syntax, applied in order
/// @throws ConfigError if the file cannot be read or is not YAML
[[nodiscard]] Config load_recipe(const std::filesystem::path& path, std::span<const std::string> overrides);

/// @throws ConfigError for an unknown key (naming the nearest), a value of the wrong type or out of range
[[nodiscard]] Recipe parse_recipe(const Config& config, const std::filesystem::path& folder);

/// First and last statistics date where a recipe names none (spec §14.2): the first 80 % of fewer than ten dates or
/// years, else all but the last year, from 20 years on all but the last three.
[[nodiscard]] std::pair<int64_t, int64_t> default_statistics_dates(std::span<const int64_t> dates);

/// Cells per chunk (spec §14.2).
[[nodiscard]] int64_t grid_chunk(const Chunking& chunking, int64_t variables, int64_t cells);

/// @throws ConfigError if a mapping holds a key that is not in `known`, naming the nearest
void check_keys(const Config& config, std::initializer_list<const char*> known);

} // namespace gradwind::data
