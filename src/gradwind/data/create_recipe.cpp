// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/data/create_recipe.h"

#include "gradwind/core/datetime.h"
#include "gradwind/core/error.h"
#include "gradwind/core/text.h"

#include <algorithm>
#include <cmath>
#include <fmt/ranges.h>
#include <set>

namespace gradwind::data
{

namespace
{

constexpr int64_t max_dates = 10'000'000;

int64_t positive(const Config& config, const std::string& key, int64_t fallback)
{
    if (!config.has(key))
        return fallback;
    const auto value = config.get<int64_t>(key);
    GRADWIND_CHECK(value > 0, ConfigError, "[dataset] {} must be positive, but it is {}", config.at(key).where(),
                   value);
    return value;
}

/// Runs a parser of text on a value, and adds the place to its error.
template <class F>
auto parse_at(const Config& config, const std::string& key, F parse)
{
    const auto value = config.at(key);
    try {
        return parse(value.as<std::string>());
    } catch (const ConfigError& error) {
        throw ConfigError(fmt::format("[dataset] {}: {}", value.where(), error.what()));
    }
}

int64_t date_at(const Config& config, const std::string& key)
{
    return parse_at(config, key, [](const std::string& text) { return parse_datetime(text); });
}

int64_t frequency_at(const Config& config, const std::string& key)
{
    return parse_at(config, key, [](const std::string& text) { return parse_frequency(text); });
}

void parse_dates(const Config& config, Recipe& recipe)
{
    check_keys(config, {"start", "end", "frequency", "missing", "group_by"});
    const auto start = date_at(config, "start");
    const auto end = date_at(config, "end");
    recipe.frequency = config.has("frequency") ? frequency_at(config, "frequency") : 3600;
    GRADWIND_CHECK(start <= end, ConfigError, "[dataset] {}: dates.start {} is after dates.end {}", config.where(),
                   format_datetime(start), format_datetime(end));
    const auto count = (end - start) / recipe.frequency + 1;
    GRADWIND_CHECK(count <= max_dates, ConfigError, "[dataset] {}: {} dates are more than {}; check the frequency",
                   config.where(), count, max_dates);
    for (int64_t i = 0; i < count; ++i)
        recipe.dates.push_back(start + i * recipe.frequency);
    const auto missing = config.find("missing");
    if (!missing || missing->is_null())
        return;
    if (missing->kind() == Config::Kind::String) {
        GRADWIND_CHECK(missing->as<std::string>() == "auto", ConfigError,
                       "[dataset] {} must be `auto` or a list of dates, but it is `{}`", missing->where(),
                       missing->as<std::string>());
        recipe.missing_rule = MissingDates::Automatic;
        return;
    }
    GRADWIND_CHECK(missing->is_list(), ConfigError, "[dataset] {} must be `auto` or a list of dates", missing->where());
    std::set<int64_t> dates;
    for (size_t i = 0; i < missing->items().size(); ++i) {
        const auto date = date_at(*missing, std::to_string(i));
        GRADWIND_CHECK(std::ranges::binary_search(recipe.dates, date), ConfigError,
                       "[dataset] {}: {} is not one of the dates {} to {} every {}", missing->items()[i].where(),
                       format_datetime(date), format_datetime(start), format_datetime(recipe.dates.back()),
                       frequency_to_string(recipe.frequency));
        dates.insert(date);
    }
    recipe.missing.assign(dates.begin(), dates.end());
}

void parse_tendencies(const Config& config, Recipe& recipe)
{
    const auto tendencies = config.find("tendencies");
    if (!tendencies || tendencies->is_null())
        return;
    std::set<int64_t> deltas;
    if (tendencies->kind() == Config::Kind::Bool) {
        if (tendencies->as<bool>())
            for (const int64_t hours : {1, 3, 6, 12, 24})
                if (hours * 3600 % recipe.frequency == 0)
                    deltas.insert(hours * 3600);
    } else {
        GRADWIND_CHECK(tendencies->is_list(), ConfigError,
                       "[dataset] {} must be true, false or a list of time differences", tendencies->where());
        for (size_t i = 0; i < tendencies->items().size(); ++i) {
            const auto delta = frequency_at(*tendencies, std::to_string(i));
            GRADWIND_CHECK(delta % recipe.frequency == 0, ConfigError,
                           "[dataset] {}: {} is not a multiple of the data's frequency {}",
                           tendencies->items()[i].where(), frequency_to_string(delta),
                           frequency_to_string(recipe.frequency));
            deltas.insert(delta);
        }
    }
    recipe.tendencies.assign(deltas.begin(), deltas.end());
}

void parse_allow_nans(const Config& config, Recipe& recipe)
{
    if (config.is_list())
        recipe.allow_nans = config.as<std::vector<std::string>>();
    else
        recipe.allow_all_nans = config.as<bool>();
}

void parse_statistics(const Config& config, Recipe& recipe)
{
    std::tie(recipe.statistics_start, recipe.statistics_end) = default_statistics_dates(recipe.dates);
    if (config.is_null())
        return;
    check_keys(config, {"start", "end", "tendencies", "allow_nans"});
    if (config.has("start"))
        recipe.statistics_start = date_at(config, "start");
    if (config.has("end"))
        recipe.statistics_end = date_at(config, "end");
    const auto first = std::ranges::lower_bound(recipe.dates, recipe.statistics_start);
    GRADWIND_CHECK(first != recipe.dates.end() && *first <= recipe.statistics_end, ConfigError,
                   "[dataset] {}: no date from statistics.start {} to statistics.end {}", config.where(),
                   format_datetime(recipe.statistics_start), format_datetime(recipe.statistics_end));
    recipe.statistics_start = *first;
    recipe.statistics_end = *std::prev(std::ranges::upper_bound(recipe.dates, recipe.statistics_end));
    if (config.has("allow_nans"))
        parse_allow_nans(config.at("allow_nans"), recipe);
    parse_tendencies(config, recipe);
}

void parse_output(const Config& config, Recipe& recipe)
{
    check_keys(config, {"chunking", "dtype", "format", "layout", "order_by", "remapping", "sanitise", "flatten_grid",
                        "ensemble_dimension", "default_grid_splits", "min_chunk_bytes", "max_chunk_bytes"});
    const auto must_be = [&](const char* key, const std::string& only) {
        const auto value = config.get<std::string>(key, only);
        GRADWIND_CHECK(value == only, ConfigError, "[dataset] {} must be {}, but it is {}", config.at(key).where(),
                       only, value);
    };
    must_be("dtype", "float32");
    must_be("format", "zarr2");
    must_be("layout", "gridded");
    auto& chunking = recipe.chunking;
    chunking.grid_splits = positive(config, "default_grid_splits", chunking.grid_splits);
    chunking.min_bytes = positive(config, "min_chunk_bytes", chunking.min_bytes);
    chunking.max_bytes = positive(config, "max_chunk_bytes", chunking.max_bytes);
    if (!config.has("chunking"))
        return;
    const auto sizes = config.at("chunking");
    check_keys(sizes, {"dates", "ensembles", "variables", "values"});
    chunking.dates = positive(sizes, "dates", chunking.dates);
    chunking.ensembles = positive(sizes, "ensembles", chunking.ensembles);
    chunking.variables = positive(sizes, "variables", chunking.variables);
    chunking.values = positive(sizes, "values", chunking.values);
}

void parse_build(const Config& config, Recipe& recipe)
{
    // How the original cuts its work into groups and processes means nothing here; the keys are accepted.
    check_keys(config,
               {"allow_nans", "group_by", "additions", "chunk_alignment_offset", "chunk_compression_ratio",
                "chunk_windows", "delete_files", "env", "fs_read_bandwidth_bytes_per_s", "fs_read_latency_seconds",
                "fs_read_max_bytes", "fs_read_min_bytes", "max_fragment_size", "max_workers", "use_grib_paramid",
                "validate_date_ranges", "variable_naming", "write_zarr_buffer_size"});
    if (config.has("variable_naming")) {
        const auto naming = config.get<std::string>("variable_naming");
        GRADWIND_CHECK(naming == "{param}_{levelist}" || naming == "default", ConfigError,
                       "[dataset] {} must be {{param}}_{{levelist}}, but it is {}",
                       config.at("variable_naming").where(), naming);
    }
    if (config.has("allow_nans"))
        parse_allow_nans(config.at("allow_nans"), recipe);
}

DropCells parse_drop_cells(const Config& config)
{
    if (config.kind() == Config::Kind::String) {
        GRADWIND_CHECK(config.as<std::string>() == "any", ConfigError,
                       "[dataset] {} must be true, false or `any`, but it is `{}`", config.where(),
                       config.as<std::string>());
        return DropCells::EverMissing;
    }
    return config.as<bool>() ? DropCells::NeverAvailable : DropCells::None;
}

} // namespace

void check_keys(const Config& config, std::initializer_list<const char*> known)
{
    const std::vector<std::string> names(known.begin(), known.end());
    GRADWIND_CHECK(config.is_map(), ConfigError, "[dataset] {} must be a mapping with keys among {}", config.where(),
                   fmt::join(names, ", "));
    for (const auto& key : config.keys())
        GRADWIND_CHECK(std::ranges::find(names, key) != names.end(), ConfigError,
                       "[dataset] {}: unknown key `{}`{}; known are {}",
                       config.find(key) ? config.find(key)->where() : config.where(), key, did_you_mean(key, names),
                       fmt::join(names, ", "));
}

bool Recipe::may_hold_nan(const std::string& variable) const
{
    return allow_all_nans || std::ranges::find(allow_nans, variable) != allow_nans.end();
}

Recipe parse_recipe(const Config& config, const std::filesystem::path& folder)
{
    check_keys(config, {"name", "description", "licence", "attribution", "dates", "input", "build", "statistics",
                        "output", "drop_missing_cells", "dataset_status", "additions", "data_sources", "env"});
    Recipe recipe;
    recipe.source = config;
    recipe.folder = folder;
    recipe.description = config.get<std::string>("description", "");
    recipe.licence = config.get<std::string>("licence", "");
    recipe.attribution = config.get<std::string>("attribution", "");
    parse_dates(config.at("dates"), recipe);
    parse_statistics(config.find("statistics").value_or(Config()), recipe);
    if (config.has("build"))
        parse_build(config.at("build"), recipe);
    if (config.has("output"))
        parse_output(config.at("output"), recipe);
    if (config.has("drop_missing_cells"))
        recipe.drop_cells = parse_drop_cells(config.at("drop_missing_cells"));
    recipe.input = config.at("input");
    return recipe;
}

std::pair<int64_t, int64_t> default_statistics_dates(std::span<const int64_t> dates)
{
    GRADWIND_ASSERT(!dates.empty());
    constexpr double seconds_per_year = 365.25 * 86400;
    const auto count = dates.size();
    const auto years = std::lround(double(dates.back() - dates.front()) / seconds_per_year);
    if (count < 10 || years < 10)
        return {dates.front(), dates[size_t(std::max(0.8 * double(count), 1.0)) - 1]};
    const auto last_year = CivilTime::from_seconds(dates.back()).year - (years >= 20 ? 3 : 1);
    const auto end = std::ranges::lower_bound(dates, CivilTime{last_year + 1}.seconds());
    return {dates.front(), *std::prev(end)};
}

int64_t grid_chunk(const Chunking& chunking, int64_t variables, int64_t cells)
{
    if (chunking.values > 0)
        return std::min(chunking.values, cells);
    const auto in_variables = chunking.variables > 0 ? std::min(chunking.variables, variables) : variables;
    const auto length = [&](int64_t splits) { return (cells + splits - 1) / splits; };
    const auto bytes = [&](int64_t splits) {
        return length(splits) * in_variables * chunking.dates * chunking.ensembles * int64_t(sizeof(float));
    };
    auto splits = chunking.grid_splits;
    while (splits > 1 && bytes(splits) < chunking.min_bytes)
        splits /= 2;
    while (splits < cells && bytes(splits) > chunking.max_bytes)
        splits *= 2;
    return length(splits);
}

} // namespace gradwind::data
