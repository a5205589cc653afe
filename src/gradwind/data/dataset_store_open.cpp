// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Opening a store: everything that its metadata promise is checked here, once.
#include "gradwind/core/datetime.h"
#include "gradwind/core/error.h"
#include "gradwind/data/dataset_dates.h"
#include "gradwind/data/dataset_store.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

namespace gradwind::data
{

namespace
{

using nlohmann::json;
namespace fs = std::filesystem;

const json& attribute(const json& attributes, const char* key, const fs::path& path)
{
    const auto found = attributes.find(key);
    GRADWIND_CHECK(found != attributes.end(), DataError,
                   "[data] {}: the attribute `{}` is missing from .zattrs; the store is incomplete", path.string(),
                   key);
    return *found;
}

json read_attributes(const fs::path& path)
{
    GRADWIND_CHECK(fs::exists(path), DataError, "[data] {}: there is no data set of that name", path.string());
    GRADWIND_CHECK(fs::is_directory(path), DataError,
                   "[data] {}: is not a folder; zipped stores are not supported, unpack it first", path.string());
    GRADWIND_CHECK(!fs::exists(path / "zarr.json"), DataError,
                   "[data] {}: is a zarr 3 store, which is not supported; convert it to zarr 2", path.string());
    const auto group = read_json(path / ".zgroup");
    GRADWIND_CHECK(group.is_object() && group.value("zarr_format", json()) == 2, DataError,
                   "[data] {}: .zgroup does not say zarr_format 2", path.string());
    auto attributes = read_json(path / ".zattrs");
    GRADWIND_CHECK(attributes.is_object(), DataError, "[data] {}: .zattrs must hold a JSON object", path.string());
    const auto layout =
        attributes.contains("layout") ? attributes["layout"] : attributes.value("format", json("gridded"));
    GRADWIND_CHECK(layout == "gridded" || layout.is_null(), DataError,
                   "[data] {}: the layout {} is not supported, only gridded data are", path.string(), layout.dump());
    return attributes;
}

/// The array, wherever one of the names exists. @throws DataError naming the first
ZarrArray find_array(const fs::path& path, std::initializer_list<const char*> names)
{
    for (const auto* name : names)
        if (fs::exists(path / name / ".zarray"))
            return ZarrArray(path / name);
    throw DataError(
        fmt::format("[data] {}: the array `{}` is missing; the store is incomplete", path.string(), *names.begin()));
}

std::vector<std::string> read_names(const json& list, const char* key, const fs::path& path)
{
    GRADWIND_CHECK(list.is_array(), DataError, "[data] {}: the attribute `{}` must be a list of names", path.string(),
                   key);
    std::vector<std::string> names;
    std::set<std::string> seen;
    for (const auto& item : list) {
        GRADWIND_CHECK(item.is_string(), DataError, "[data] {}: the attribute `{}` must hold names, found {}",
                       path.string(), key, item.dump());
        names.push_back(item.get<std::string>());
        GRADWIND_CHECK(seen.insert(names.back()).second, DataError, "[data] {}: the attribute `{}` has `{}` twice",
                       path.string(), key, names.back());
    }
    return names;
}

void read_dates(const fs::path& path, int64_t count, DatasetInfo& info)
{
    info.dates = find_array(path, {"dates"}).dates();
    GRADWIND_CHECK(int64_t(info.dates.size()) == count, DataError, "[data] {}: {} dates for {} rows of data",
                   path.string(), info.dates.size(), count);
    GRADWIND_CHECK(count > 0, DataError, "[data] {}: there are no dates in it", path.string());
    for (size_t i = 1; i < info.dates.size(); ++i) {
        const auto step = info.dates[1] - info.dates[0];
        GRADWIND_CHECK(
            step > 0 && info.dates[i] - info.dates[i - 1] == step, DataError,
            "[data] {}: dates must be equally spaced; {} follows {}, the first step is {} s. Stores that leave "
            "missing dates out must be written again with a row for each of them",
            path.string(), format_datetime(info.dates[i]), format_datetime(info.dates[i - 1]), step);
        info.frequency_s = step;
    }
}

void read_frequency(const json& attributes, const fs::path& path, const DatasetInfo& info)
{
    const auto& declared = attribute(attributes, "frequency", path);
    int64_t seconds = 0;
    try {
        seconds = parse_frequency(declared.is_string() ? declared.get<std::string>() : declared.dump());
    } catch (const ConfigError& error) {
        throw DataError(fmt::format("[data] {}: the attribute `frequency`: {}", path.string(), error.what()));
    }
    GRADWIND_CHECK(info.dates.size() < 2 || seconds == info.frequency_s, DataError,
                   "[data] {}: the attribute `frequency` is {}, but the dates are {} apart", path.string(),
                   declared.dump(), frequency_to_string(info.frequency_s));
}

void read_missing(const json& attributes, const fs::path& path, DatasetInfo& info)
{
    info.missing.assign(info.dates.size(), 0);
    const auto& list = attributes.value("missing_dates", json::array());
    GRADWIND_CHECK(list.is_array() || list.is_null(), DataError,
                   "[data] {}: the attribute `missing_dates` must be a list of dates", path.string());
    for (const auto& item : list) {
        const auto date = item.is_string() ? parse_date(item.get<std::string>()) : std::nullopt;
        GRADWIND_CHECK(date, DataError, "[data] {}: {} in `missing_dates` is not a date", path.string(), item.dump());
        const auto found = std::lower_bound(info.dates.begin(), info.dates.end(), date->first);
        GRADWIND_CHECK(found != info.dates.end() && *found == date->first, DataError,
                       "[data] {}: the missing date {} is not among the dates of the store", path.string(),
                       item.dump());
        info.missing[size_t(found - info.dates.begin())] = 1;
    }
}

void read_coordinates(const fs::path& path, int64_t n_cells, DatasetInfo& info)
{
    info.latitudes = find_array(path, {"latitudes", "latitude"}).values(n_cells);
    info.longitudes = find_array(path, {"longitudes", "longitude"}).values(n_cells);
    for (size_t cell = 0; cell < info.latitudes.size(); ++cell) {
        constexpr double kSlack = 1e-3; // float32 coordinates may stand beyond the pole by a rounding
        const auto lat_deg = info.latitudes[cell], lon_deg = info.longitudes[cell];
        GRADWIND_CHECK(std::abs(lat_deg) <= 90 + kSlack && std::abs(lon_deg) <= 720, DataError,
                       "[data] {}: cell {} lies at latitude {}, longitude {}; degrees are expected", path.string(),
                       cell, lat_deg, lon_deg);
    }
}

void read_statistics(const fs::path& path, int64_t n_variables, DatasetInfo& info)
{
    info.statistics.mean = find_array(path, {"mean"}).values(n_variables);
    info.statistics.stdev = find_array(path, {"stdev"}).values(n_variables);
    info.statistics.minimum = find_array(path, {"minimum"}).values(n_variables);
    info.statistics.maximum = find_array(path, {"maximum"}).values(n_variables);
}

void read_field_shape(const json& attributes, const fs::path& path, int64_t n_cells, DatasetInfo& info)
{
    info.field_shape = {n_cells};
    const auto shape = attributes.value("field_shape", json());
    if (shape.is_null())
        return;
    const auto valid = [&] {
        if (!shape.is_array() || shape.empty() || shape.size() > 4)
            return false;
        return std::all_of(shape.begin(), shape.end(), [&](const json& side) {
            return side.is_number_integer() && side.get<int64_t>() >= 0 && side.get<int64_t>() <= n_cells;
        });
    };
    GRADWIND_CHECK(valid(), DataError,
                   "[data] {}: the attribute `field_shape` is {}, expected up to 4 sizes for {} cells", path.string(),
                   shape.dump(), n_cells);
    info.field_shape = shape.get<std::vector<int64_t>>();
}

std::string text_of(const json& value)
{
    if (value.is_null())
        return {};
    return value.is_string() ? value.get<std::string>() : value.dump();
}

void read_descriptions(const json& attributes, const fs::path& path, DatasetInfo& info)
{
    info.resolution = text_of(attribute(attributes, "resolution", path));
    const auto constant = attributes.value("constant_fields", json::array());
    if (!constant.is_null())
        info.constant_fields = read_names(constant, "constant_fields", path);
    auto metadata = attributes.value("variables_metadata", json::object());
    GRADWIND_CHECK(metadata.is_object() || metadata.is_null(), DataError,
                   "[data] {}: the attribute `variables_metadata` must be a mapping", path.string());
    info.variables_metadata = std::make_shared<const json>(metadata.is_null() ? json::object() : std::move(metadata));
}

} // namespace

std::shared_ptr<const Store> open_store(const fs::path& path)
{
    const auto attributes = read_attributes(path);
    auto data = find_array(path, {"data"});
    const auto& shape = data.meta().shape;
    GRADWIND_CHECK(shape.size() == 4, DataError,
                   "[data] {}: `data` must have 4 dimensions (date, variable, member, cell), found {}", path.string(),
                   shape.size());
    GRADWIND_CHECK(data.meta().type != ElementType::Time, DataError, "[data] {}: `data` holds dates, not numbers",
                   path.string());
    DatasetInfo info;
    info.name = path.string();
    info.variables = read_names(attribute(attributes, "variables", path), "variables", path);
    GRADWIND_CHECK(int64_t(info.variables.size()) == shape[1], DataError,
                   "[data] {}: the attribute `variables` has {} names, but `data` has {} variables", path.string(),
                   info.variables.size(), shape[1]);
    info.n_members = shape[2];
    read_dates(path, shape[0], info);
    read_frequency(attributes, path, info);
    read_missing(attributes, path, info);
    read_coordinates(path, shape[3], info);
    read_statistics(path, shape[1], info);
    read_field_shape(attributes, path, shape[3], info);
    read_descriptions(attributes, path, info);
    const auto period = [&](const char* key) { return text_of(attributes.value(key, json())); };
    auto store = Store{path,
                       std::move(data),
                       std::move(info),
                       text_of(attributes.value("version", json())),
                       text_of(attributes.value("allow_nans", json())),
                       fmt::format("{} to {}", period("statistics_start_date"), period("statistics_end_date"))};
    return std::make_shared<const Store>(std::move(store));
}

} // namespace gradwind::data
