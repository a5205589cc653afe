// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/data/grib_message.h"

#include "gradwind/core/datetime.h"
#include "gradwind/core/error.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <eccodes.h>
#include <utility>

namespace gradwind::data
{

std::optional<GribMessage> GribMessage::read(std::FILE* file, const std::filesystem::path& path)
{
    const long begin = std::ftell(file);
    int status = 0;
    auto* handle = codes_handle_new_from_file(nullptr, file, PRODUCT_GRIB, &status);
    if (!handle && (status == CODES_SUCCESS || status == CODES_END_OF_FILE))
        return std::nullopt;
    GRADWIND_CHECK(handle, DataError, "[grib] {}: damaged message after byte {}: {}", path.string(), begin,
                   codes_get_error_message(status));
    GribMessage message(handle, path.string());
    message.where_ = fmt::format("{}, message at byte {}", path.string(), message.integer("offset"));
    return message;
}

GribMessage::GribMessage(GribMessage&& other) noexcept
    : handle_(std::exchange(other.handle_, nullptr)), where_(std::move(other.where_))
{
}

GribMessage::~GribMessage()
{
    if (handle_)
        codes_handle_delete(handle_);
}

int64_t GribMessage::integer(const char* key) const
{
    long value = 0;
    check(codes_get_long(handle_, key, &value), key);
    return value;
}

double GribMessage::real(const char* key) const
{
    double value = 0;
    check(codes_get_double(handle_, key, &value), key);
    return value;
}

std::string GribMessage::text(const char* key) const
{
    std::array<char, 1024> value = {};
    size_t length = value.size();
    check(codes_get_string(handle_, key, value.data(), &length), key);
    return value.data();
}

bool GribMessage::has(const char* key) const
{
    int status = 0;
    return codes_is_defined(handle_, key) && !codes_is_missing(handle_, key, &status);
}

std::map<std::string, std::string> GribMessage::mars() const
{
    std::map<std::string, std::string> out;
    auto* keys = codes_keys_iterator_new(handle_, 0, "mars");
    GRADWIND_CHECK(keys, DataError, "[grib] {}: no MARS keys", where_);
    while (codes_keys_iterator_next(keys)) {
        std::array<char, 1024> value = {};
        size_t length = value.size();
        const std::string name = codes_keys_iterator_get_name(keys);
        if (codes_keys_iterator_get_string(keys, value.data(), &length) == CODES_SUCCESS)
            out[name] = value.data();
    }
    codes_keys_iterator_delete(keys);
    const auto short_name = text("shortName");
    out["param"] = short_name == "unknown" || short_name == "~" ? text("paramId") : short_name;
    return out;
}

int64_t GribMessage::valid_date() const
{
    const auto date = integer("validityDate");
    const auto time = integer("validityTime");
    return CivilTime{date / 10000, int(date / 100 % 100), int(date % 100), int(time / 100), int(time % 100)}.seconds();
}

SourceGrid GribMessage::grid() const
{
    SourceGrid grid;
    grid.latitudes = array("latitudes");
    grid.longitudes = array("longitudes");
    grid.precision = SourceGrid::Precision::Float64;
    grid.field_shape = {grid.size()};
    const auto type = text("gridType");
    if (type == "regular_ll" || type == "regular_gg")
        grid.field_shape = {integer("Nj"), integer("Ni")};
    if (type == "regular_ll") {
        const double east = real("iDirectionIncrementInDegrees");
        const double north = real("jDirectionIncrementInDegrees");
        if (east == north)
            grid.resolution = east;
    } else if (has("gridName")) {
        auto name = text("gridName");
        std::ranges::transform(name, name.begin(), [](unsigned char c) { return char(std::tolower(c)); });
        grid.resolution = name;
    }
    if (grid.size() > 0)
        grid.area = {grid.latitudes.front(), grid.longitudes.front(), grid.latitudes.back(), grid.longitudes.back()};
    return grid;
}

void GribMessage::values(std::span<float> out) const
{
    constexpr double missing = 1e34; // no packed value comes near it
    const bool holes = integer("bitmapPresent") != 0;
    if (holes)
        check(codes_set_double(handle_, "missingValue", missing), "missingValue");
    const auto values = array("values");
    GRADWIND_CHECK(values.size() == out.size(), DataError, "[grib] {}: {} values for {} points", where_, values.size(),
                   out.size());
    for (size_t i = 0; i < out.size(); ++i)
        out[i] = holes && values[i] == missing ? std::numeric_limits<float>::quiet_NaN() : float(values[i]);
}

std::vector<double> GribMessage::array(const char* key) const
{
    size_t size = 0;
    check(codes_get_size(handle_, key, &size), key);
    std::vector<double> out(size);
    check(codes_get_double_array(handle_, key, out.data(), &size), key);
    out.resize(size);
    return out;
}

void GribMessage::check(int status, const char* what) const
{
    GRADWIND_CHECK(status == CODES_SUCCESS, DataError, "[grib] {}: cannot get {}: {}", where_, what,
                   codes_get_error_message(status));
}

} // namespace gradwind::data
