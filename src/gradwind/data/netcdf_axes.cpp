// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/data/netcdf_axes.h"

#include "gradwind/core/datetime.h"
#include "gradwind/core/error.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>

namespace gradwind::data
{

namespace
{

using Variable = NetcdfFile::Variable;

std::string lower(std::string text)
{
    std::ranges::transform(text, text.begin(), [](unsigned char c) { return char(std::tolower(c)); });
    return text;
}

bool is_one_of(const std::string& word, std::initializer_list<const char*> words)
{
    return std::ranges::any_of(words, [&](const char* other) { return word == other; });
}

bool is_latitude(const NetcdfFile& file, const Variable& variable)
{
    const auto units = lower(file.text(variable, "units"));
    return file.text(variable, "standard_name") == "latitude" ||
           is_one_of(units, {"degrees_north", "degree_north", "degrees_n", "degree_n"}) ||
           (units.empty() && is_one_of(lower(variable.name), {"lat", "latitude"}));
}

bool is_longitude(const NetcdfFile& file, const Variable& variable)
{
    const auto units = lower(file.text(variable, "units"));
    return file.text(variable, "standard_name") == "longitude" ||
           is_one_of(units, {"degrees_east", "degree_east", "degrees_e", "degree_e"}) ||
           (units.empty() && is_one_of(lower(variable.name), {"lon", "longitude"}));
}

/// Position of a dimension by name.
std::optional<size_t> position(const Variable& variable, const std::string& dimension)
{
    for (size_t i = 0; i < variable.dimensions.size(); ++i)
        if (variable.dimensions[i].name == dimension)
            return i;
    return std::nullopt;
}

bool is_within(const Variable& coordinate, const Variable& variable)
{
    return !coordinate.dimensions.empty() && coordinate.is_number() &&
           std::ranges::all_of(coordinate.dimensions,
                               [&](const auto& dimension) { return position(variable, dimension.name).has_value(); });
}

/// One horizontal coordinate: its values over some dimensions of the variable.
struct Coordinate {
    std::vector<size_t> dimensions; ///< positions in the variable
    std::vector<double> values;
    SourceGrid::Precision precision = SourceGrid::Precision::Float64;
};

Coordinate read_coordinate(const NetcdfFile& file, const Variable& variable, const Variable& coordinate)
{
    Coordinate out;
    for (const auto& dimension : coordinate.dimensions)
        out.dimensions.push_back(*position(variable, dimension.name));
    out.values = file.read_all(coordinate);
    if (coordinate.is_float32())
        out.precision = SourceGrid::Precision::Float32;
    return out;
}

/// An even axis {first, last} along one of the last two dimensions.
Coordinate even_axis(const Variable& variable, const Config& recipe, size_t from_end)
{
    GRADWIND_CHECK(variable.dimensions.size() >= 2, DataError, "[netcdf] {}: variable {} has no rows and columns",
                   recipe.where(), variable.name);
    const auto dimension = variable.dimensions.size() - from_end;
    const auto length = variable.dimensions[dimension].length;
    const auto first = recipe.get<double>("first");
    const auto last = recipe.get<double>("last");
    Coordinate out{{dimension}, {}, SourceGrid::Precision::Float64};
    for (int64_t i = 0; i < length; ++i)
        out.values.push_back(length == 1 ? first : first + (last - first) * double(i) / double(length - 1));
    return out;
}

std::optional<Coordinate> find_coordinate(const NetcdfFile& file, const Variable& variable, const Config& recipe,
                                          const std::string& key, size_t from_end)
{
    if (recipe.has(key)) {
        const auto given = recipe.at(key);
        if (given.is_map())
            return even_axis(variable, given, from_end);
        const auto* named = file.find(given.as<std::string>());
        GRADWIND_CHECK(named, DataError, "[netcdf] {}: {} has no variable `{}`", given.where(), file.path().string(),
                       given.as<std::string>());
        return is_within(*named, variable) ? std::optional(read_coordinate(file, variable, *named)) : std::nullopt;
    }
    for (const auto& candidate : file.variables())
        if (candidate.id != variable.id && is_within(candidate, variable) &&
            (key == "latitude" ? is_latitude(file, candidate) : is_longitude(file, candidate)))
            return read_coordinate(file, variable, candidate);
    return std::nullopt;
}

/// Spreads a coordinate over all points of the grid.
std::vector<double> spread(const Variable& variable, const std::vector<size_t>& space, const Coordinate& coordinate)
{
    std::vector<int64_t> stride(variable.dimensions.size(), 0);
    int64_t step = 1;
    for (auto it = coordinate.dimensions.rbegin(); it != coordinate.dimensions.rend(); ++it) {
        stride[*it] = step;
        step *= variable.dimensions[*it].length;
    }
    int64_t points = 1;
    for (const auto dimension : space)
        points *= variable.dimensions[dimension].length;
    std::vector<double> out(size_t(points), 0.0);
    for (int64_t point = 0; point < points; ++point) {
        int64_t rest = point;
        int64_t offset = 0;
        for (auto it = space.rbegin(); it != space.rend(); ++it) {
            offset += rest % variable.dimensions[*it].length * stride[*it];
            rest /= variable.dimensions[*it].length;
        }
        out[size_t(point)] = coordinate.values[size_t(offset)];
    }
    return out;
}

bool find_grid(const NetcdfFile& file, const Variable& variable, const Config& recipe, NetcdfAxes& axes)
{
    const auto latitude = find_coordinate(file, variable, recipe, "latitude", 2);
    const auto longitude = find_coordinate(file, variable, recipe, "longitude", 1);
    if (!latitude || !longitude)
        return false;
    auto& space = axes.space;
    space = latitude->dimensions;
    space.insert(space.end(), longitude->dimensions.begin(), longitude->dimensions.end());
    std::ranges::sort(space);
    space.erase(std::unique(space.begin(), space.end()), space.end());
    axes.grid.latitudes = spread(variable, space, *latitude);
    axes.grid.longitudes = spread(variable, space, *longitude);
    // Some axes run on beyond a full circle (20..377.5); readers expect -180..180 or 0..360.
    for (auto& degrees : axes.grid.longitudes)
        if (degrees > 360 && degrees <= 720)
            degrees -= 360;
    axes.grid.precision = latitude->precision;
    for (const auto dimension : space)
        axes.grid.field_shape.push_back(variable.dimensions[dimension].length);
    for (size_t i = 0; i < axes.grid.latitudes.size(); ++i)
        GRADWIND_CHECK(std::abs(axes.grid.latitudes[i]) <= 90.001 && std::abs(axes.grid.longitudes[i]) <= 720,
                       DataError, "[netcdf] {}: point {} of {} lies at {}, {}: no latitude and longitude in degrees",
                       file.path().string(), i, variable.name, axes.grid.latitudes[i], axes.grid.longitudes[i]);
    return true;
}

/// Reads "hours since 1996-01-05 00:00:00". @return seconds per unit and the origin in seconds since 1970
std::pair<double, int64_t> parse_cf_units(const std::string& units, const std::string& where)
{
    const auto since = units.find(" since ");
    GRADWIND_CHECK(since != std::string::npos, DataError, "[netcdf] {}: `{}` is not a CF time unit", where, units);
    auto name = lower(units.substr(0, since));
    if (name.size() > 1 && name.back() == 's')
        name.pop_back();
    const double scale = is_one_of(name, {"day", "d"})             ? 86400
                         : is_one_of(name, {"hour", "hr", "h"})    ? 3600
                         : is_one_of(name, {"minute", "min", "m"}) ? 60
                         : is_one_of(name, {"second", "sec", "s"}) ? 1
                                                                   : 0;
    GRADWIND_CHECK(scale > 0, DataError, "[netcdf] {}: time unit `{}` is none of days, hours, minutes, seconds", where,
                   units);
    // Origins come as "1996-1-5 0:0:0.0 UTC" too: take the numbers one by one.
    CivilTime origin{0, 1, 1};
    std::vector<int64_t> numbers;
    const auto text = units.substr(since + 7);
    for (const char* at = text.data(); at < text.data() + text.size() && numbers.size() < 6;) {
        int64_t number = 0;
        const auto [end, error] = std::from_chars(at, text.data() + text.size(), number);
        if (error == std::errc())
            numbers.push_back(std::abs(number));
        at = error == std::errc() ? end : at + 1;
    }
    numbers.resize(std::max<size_t>(numbers.size(), 3), 0);
    numbers.resize(6, 0);
    origin = {numbers[0], int(numbers[1]), int(numbers[2]), int(numbers[3]), int(numbers[4]), int(numbers[5])};
    return {scale, origin.seconds()};
}

std::vector<int64_t> decode_cf_time(const NetcdfFile& file, const Variable& time)
{
    const auto where = file.path().string() + ": " + time.name;
    const auto calendar = lower(file.text(time, "calendar"));
    GRADWIND_CHECK(is_one_of(calendar, {"", "standard", "gregorian", "proleptic_gregorian"}), DataError,
                   "[netcdf] {}: calendar `{}` is not supported; the standard calendar is", where, calendar);
    const auto [scale, origin] = parse_cf_units(file.text(time, "units"), where);
    std::vector<int64_t> out;
    for (const double value : file.read_all(time)) {
        GRADWIND_CHECK(std::abs(value * scale) < 1e15, DataError, "[netcdf] {}: {} is not a time", where, value);
        out.push_back(origin + std::llround(value * scale));
    }
    return out;
}

void find_time(const NetcdfFile& file, const Variable& variable, const Config& recipe, NetcdfAxes& axes)
{
    const auto is_free = [&](size_t i) { return std::ranges::find(axes.space, i) == axes.space.end(); };
    if (recipe.has("time")) {
        const auto time = recipe.at("time");
        const auto name = time.get<std::string>("dimension", variable.dimensions.front().name);
        const auto found = position(variable, name);
        if (!found || !is_free(*found))
            return;
        axes.time = found;
        const auto start = parse_datetime(time.get<std::string>("start"));
        const auto step = parse_frequency(time.get<std::string>("frequency"));
        for (int64_t i = 0; i < variable.dimensions[*found].length; ++i)
            axes.dates.push_back(start + i * step);
        return;
    }
    for (size_t i = 0; i < variable.dimensions.size() && !axes.time; ++i) {
        const auto* coordinate = file.find(variable.dimensions[i].name);
        if (!coordinate || !is_free(i) || coordinate->dimensions.size() != 1)
            continue;
        if (file.text(*coordinate, "units").find(" since ") == std::string::npos)
            continue;
        axes.time = i;
        axes.dates = decode_cf_time(file, *coordinate);
    }
}

/// Gives what remains a meaning: an ensemble or a vertical dimension.
void find_others(const NetcdfFile& file, const Variable& variable, NetcdfAxes& axes)
{
    for (size_t i = 0; i < variable.dimensions.size(); ++i) {
        if (std::ranges::find(axes.space, i) != axes.space.end() || axes.time == i)
            continue;
        const auto& dimension = variable.dimensions[i];
        const auto* coordinate = file.find(dimension.name);
        const bool readable = coordinate && coordinate->is_number() && coordinate->dimensions.size() == 1;
        const auto name = lower(dimension.name);
        if (is_one_of(name, {"number", "member", "ensemble", "ens", "realization"})) {
            axes.member = i;
            axes.members.clear();
            const auto numbers = readable ? file.read_all(*coordinate) : std::vector<double>();
            for (int64_t k = 0; k < dimension.length; ++k)
                axes.members.push_back(readable ? std::llround(numbers[size_t(k)]) : k);
            GRADWIND_CHECK(std::ranges::is_sorted(axes.members), DataError,
                           "[netcdf] {}: the members of {} are not in ascending order", file.path().string(),
                           variable.name);
        } else if (readable && !axes.level && file.text(*coordinate, "units").find(" since ") == std::string::npos) {
            axes.level = i;
            axes.levels = file.read_all(*coordinate);
        } else {
            GRADWIND_CHECK(dimension.length == 1, DataError,
                           "[netcdf] {}: dimension {} of {} ({} entries) is neither time, level, member nor part of "
                           "the grid; name time in the recipe (time: {{dimension, start, frequency}}) if that is it",
                           file.path().string(), dimension.name, variable.name, dimension.length);
        }
    }
}

} // namespace

std::optional<NetcdfAxes> netcdf_axes(const NetcdfFile& file, const NetcdfFile::Variable& variable,
                                      const Config& recipe)
{
    NetcdfAxes axes;
    if (!variable.is_number() || variable.dimensions.empty() || !find_grid(file, variable, recipe, axes))
        return std::nullopt;
    find_time(file, variable, recipe, axes);
    find_others(file, variable, axes);
    return axes;
}

} // namespace gradwind::data
