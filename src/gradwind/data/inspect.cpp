// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/data/inspect.h"

#include "gradwind/core/datetime.h"
#include "gradwind/data/dataset_store.h"
#include "gradwind/data/inspect_sha256.h"

#include <algorithm>
#include <cmath>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <ostream>

namespace gradwind::data
{

namespace
{

using nlohmann::json;
namespace fs = std::filesystem;

json describe_dates(const Dataset& dataset)
{
    auto missing = json::array();
    for (int64_t i = 0; i < dataset.n_dates(); ++i)
        if (dataset.missing()[size_t(i)])
            missing.push_back(format_datetime(dataset.dates()[size_t(i)]));
    json out = {{"count", dataset.n_dates()}, {"missing", missing}, {"first", nullptr}, {"last", nullptr}};
    if (dataset.n_dates() > 0) {
        out["first"] = format_datetime(dataset.dates().front());
        out["last"] = format_datetime(dataset.dates().back());
    }
    out["frequency"] = dataset.frequency_s() ? json(frequency_to_string(dataset.frequency_s())) : json();
    return out;
}

json describe_grid(const Dataset& dataset)
{
    const auto bounds = [](const std::vector<double>& values) {
        const auto [low, high] = std::minmax_element(values.begin(), values.end());
        return values.empty() ? json::array() : json({*low, *high});
    };
    json out = {{"cells", dataset.n_cells()},
                {"field_shape", dataset.field_shape()},
                {"resolution", dataset.resolution().empty() ? json() : json(dataset.resolution())},
                {"latitudes", bounds(dataset.latitudes())},
                {"longitudes", bounds(dataset.longitudes())},
                {"masks", json::array()}};
    for (const auto& mask : dataset.info().masks)
        out["masks"].push_back({{"name", mask.name},
                                {"cells", mask.kept.size()},
                                {"kept", std::count(mask.kept.begin(), mask.kept.end(), char(1))}});
    return out;
}

/// Per variable, the number of NaN on the first date with data; nothing where there is no such date.
std::vector<int64_t> count_nans(const Dataset& dataset)
{
    const auto first = std::find(dataset.missing().begin(), dataset.missing().end(), char(0));
    if (first == dataset.missing().end())
        return {};
    const int64_t date = first - dataset.missing().begin();
    const auto n_variables = size_t(dataset.n_variables());
    std::vector<float> values(size_t(dataset.n_members() * dataset.n_cells()) * n_variables);
    dataset.read({&date, 1}, {0, dataset.n_cells()}, values);
    std::vector<int64_t> counts(n_variables, 0);
    for (size_t i = 0; i < values.size(); ++i)
        counts[i % n_variables] += std::isnan(values[i]);
    return counts;
}

json describe_variables(const Dataset& dataset)
{
    const auto nans = count_nans(dataset);
    const auto& statistics = dataset.statistics();
    const auto& constant = dataset.constant_fields();
    auto out = json::array();
    for (size_t i = 0; i < dataset.variables().size(); ++i) {
        const auto& name = dataset.variables()[i];
        const auto found = dataset.variables_metadata().find(name);
        const bool has_units =
            found != dataset.variables_metadata().end() && found->is_object() && found->contains("units");
        out.push_back({{"name", name},
                       {"units", has_units ? (*found)["units"] : json()},
                       {"mean", statistics.mean[i]},
                       {"stdev", statistics.stdev[i]},
                       {"minimum", statistics.minimum[i]},
                       {"maximum", statistics.maximum[i]},
                       {"constant", std::find(constant.begin(), constant.end(), name) != constant.end()},
                       {"nan_on_first_date", nans.empty() ? json() : json(nans[i])}});
    }
    return out;
}

json tendencies_of(const fs::path& store)
{
    const std::string prefix = "statistics_tendencies_", suffix = "_mean";
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(store)) {
        const auto name = entry.path().filename().string();
        if (name.starts_with(prefix) && name.ends_with(suffix) && name.size() > prefix.size() + suffix.size())
            found.push_back(name.substr(prefix.size(), name.size() - prefix.size() - suffix.size()));
    }
    std::sort(found.begin(), found.end());
    return found;
}

/// Files and bytes of the store's data, all of them whatever the options select.
json describe_storage(const Store& store)
{
    const auto& meta = store.data.meta();
    int64_t files = 0, bytes = 0, expected = 1;
    for (const auto& entry : fs::recursive_directory_iterator(store.data.folder()))
        if (entry.is_regular_file() && entry.path().filename().string()[0] != '.') {
            ++files;
            bytes += int64_t(entry.file_size());
        }
    for (size_t axis = 0; axis < meta.shape.size(); ++axis)
        expected *= (meta.shape[axis] + meta.chunks[axis] - 1) / meta.chunks[axis];
    return {{"path", store.path.string()},
            {"shape", meta.shape},
            {"chunks", meta.chunks},
            {"dtype", name_of(meta.type)},
            {"codec", meta.codec_text},
            {"bytes", bytes},
            {"uncompressed_bytes", meta.elements() * size_of(meta.type)},
            {"chunk_files", files},
            {"absent_chunks", std::max<int64_t>(expected - files, 0)},
            {"version", store.version},
            {"allow_nans", store.allow_nans},
            {"statistics_period", store.statistics_period},
            {"tendencies", tendencies_of(store.path)}};
}

std::string size_text(double bytes)
{
    const char* units[] = {"B", "kB", "MB", "GB", "TB"};
    size_t unit = 0;
    while (bytes >= 1000 && unit < 4) {
        bytes /= 1000;
        ++unit;
    }
    return fmt::format("{:.4g} {}", bytes, units[unit]);
}

std::string list_text(const json& list)
{
    std::vector<std::string> parts;
    for (const auto& item : list)
        parts.push_back(item.is_string() ? item.get<std::string>() : item.dump());
    return fmt::format("{}", fmt::join(parts, ", "));
}

std::string text_or(const json& value, const char* fallback)
{
    return value.is_null() || value == "" ? fallback : value.is_string() ? value.get<std::string>() : value.dump();
}

void print_variables(const json& variables, std::ostream& out)
{
    size_t width = 8;
    for (const auto& variable : variables)
        width = std::max(width, variable["name"].get<std::string>().size());
    out << fmt::format("\n{:<{}} {:>13} {:>13} {:>13} {:>13}  {}\n", "variable", width, "mean", "stdev", "minimum",
                       "maximum", "units");
    const auto number = [](const json& value) { return value.is_null() ? std::nan("") : value.get<double>(); };
    for (const auto& variable : variables) {
        std::string notes = text_or(variable["units"], "");
        if (variable["constant"].get<bool>())
            notes += notes.empty() ? "constant" : ", constant";
        if (variable["nan_on_first_date"].is_number() && variable["nan_on_first_date"] != 0)
            notes += fmt::format("{}{} NaN", notes.empty() ? "" : ", ", variable["nan_on_first_date"].get<int64_t>());
        out << fmt::format("{:<{}} {:>13.6g} {:>13.6g} {:>13.6g} {:>13.6g}  {}\n", variable["name"].get<std::string>(),
                           width, number(variable["mean"]), number(variable["stdev"]), number(variable["minimum"]),
                           number(variable["maximum"]), notes);
    }
}

void print_notes(const json& description, std::ostream& out)
{
    std::vector<std::string> with_nans;
    for (const auto& variable : description["variables"])
        if (variable["nan_on_first_date"].is_number() && variable["nan_on_first_date"] != 0)
            with_nans.push_back(variable["name"]);
    if (!with_nans.empty())
        out << fmt::format("\nNaN in {}: training needs an imputer, or a selection of cells without them.\n",
                           fmt::join(with_nans, ", "));
    if (description.contains("sha256"))
        out << fmt::format("\nsha256     {}\n", description["sha256"].get<std::string>());
}

} // namespace

json describe(const Dataset& dataset, Checksum checksum)
{
    json out = {{"name", dataset.info().name},
                {"shape", {dataset.n_dates(), dataset.n_variables(), dataset.n_members(), dataset.n_cells()}},
                {"members", dataset.n_members()},
                {"dates", describe_dates(dataset)},
                {"grid", describe_grid(dataset)},
                {"variables", describe_variables(dataset)}};
    if (const auto* from_store = dynamic_cast<const StoreDataset*>(&dataset))
        out["store"] = describe_storage(from_store->store());
    if (checksum == Checksum::Compute)
        out["sha256"] = sha256_of_values(dataset, ValueOrder::DateVariableMemberCell);
    return out;
}

void print_description(const json& description, std::ostream& out)
{
    const auto& dates = description["dates"];
    const auto& grid = description["grid"];
    const auto& shape = description["shape"];
    out << fmt::format("data set   {}\n", description["name"].get<std::string>());
    out << fmt::format("shape      {} dates x {} variables x {} members x {} cells\n", shape[0].dump(), shape[1].dump(),
                       shape[2].dump(), shape[3].dump());
    out << fmt::format("dates      {} to {}, every {}\n", text_or(dates["first"], "none"),
                       text_or(dates["last"], "none"), text_or(dates["frequency"], "- (one date)"));
    const auto n_missing = dates["missing"].size();
    out << fmt::format("missing    {}{}\n", n_missing, n_missing ? ": " + list_text(dates["missing"]) : std::string());
    out << fmt::format("grid       resolution {}, field shape [{}], latitudes [{}], longitudes [{}]\n",
                       text_or(grid["resolution"], "not given"), list_text(grid["field_shape"]),
                       list_text(grid["latitudes"]), list_text(grid["longitudes"]));
    for (const auto& mask : grid["masks"])
        out << fmt::format("           {} keeps {} of {} cells\n", mask["name"].get<std::string>(), mask["kept"].dump(),
                           mask["cells"].dump());
    if (description.contains("store")) {
        const auto& store = description["store"];
        const auto bytes = store["bytes"].get<double>(), plain = store["uncompressed_bytes"].get<double>();
        out << fmt::format("store      {} chunks of [{}] {}, {}\n", store["chunk_files"].dump(),
                           list_text(store["chunks"]), store["dtype"].get<std::string>(),
                           store["codec"].get<std::string>());
        out << fmt::format("           {} ({} uncompressed, ratio {:.2f}), {} chunks absent\n", size_text(bytes),
                           size_text(plain), bytes > 0 ? plain / bytes : 0.0, store["absent_chunks"].dump());
        out << fmt::format("statistics over {}; tendencies: {}\n", store["statistics_period"].get<std::string>(),
                           store["tendencies"].empty() ? "none" : list_text(store["tendencies"]));
    }
    print_variables(description["variables"], out);
    print_notes(description, out);
}

} // namespace gradwind::data
