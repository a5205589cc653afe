// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/data/create_metadata.h"

#include "gradwind/core/datetime.h"

#include <algorithm>
#include <chrono>
#include <fmt/ranges.h>
#include <random>

namespace gradwind::data
{

namespace
{

/// The layout that anemoi-datasets 0.5.47 calls by this number.
constexpr const char* layout_version = "0.22";

std::string random_uuid()
{
    std::random_device random;
    std::array<unsigned, 4> word = {};
    for (auto& part : word)
        part = random();
    return fmt::format("{:08x}-{:04x}-4{:03x}-{:04x}-{:04x}{:08x}", word[0], word[1] >> 16, word[1] & 0xfffU,
                       0x8000U | (word[2] >> 16 & 0x3fffU), word[2] & 0xffffU, word[3]);
}

std::string now()
{
    const auto since = std::chrono::system_clock::now().time_since_epoch();
    return format_datetime(std::chrono::duration_cast<std::chrono::seconds>(since).count());
}

nlohmann::json dates_as_text(const std::vector<int64_t>& dates)
{
    auto out = nlohmann::json::array();
    for (const auto date : dates)
        out.push_back(format_datetime(date));
    return out;
}

nlohmann::json variables_metadata(const CreateInput& input, const CreateFacts& facts)
{
    auto out = nlohmann::json::object();
    for (size_t i = 0; i < input.names().size(); ++i) {
        const auto& name = input.names()[i];
        auto metadata = input.metadata(i);
        const bool constant = std::ranges::binary_search(facts.constant_fields, name);
        if (constant || input.kind(i) == Source::Kind::Computed)
            metadata["constant_in_time"] = constant;
        out[name] = std::move(metadata);
    }
    return out;
}

/// The part of a MARS request that the fields correspond to; empty where they do not come from GRIB.
nlohmann::json data_request(const CreateInput& input)
{
    auto by_level = nlohmann::json::object();
    for (size_t i = 0; i < input.names().size(); ++i) {
        const auto& metadata = input.metadata(i);
        if (!metadata.contains("grib"))
            continue;
        const auto& mars = metadata.at("mars");
        const auto param = mars.at("param");
        by_level[mars.value("levtype", "sfc")].push_back(
            mars.contains("levelist") ? nlohmann::json{param, mars.at("levelist")} : param);
    }
    const auto& resolution = input.grid().resolution;
    return {{"area", input.grid().area},
            {"grid", resolution.is_number() ? nlohmann::json{resolution, resolution} : resolution},
            {"param_level", by_level},
            {"param_step", nlohmann::json::object()}};
}

} // namespace

nlohmann::json dataset_attributes(const Recipe& recipe, const CreateInput& input, const CreateFacts& facts)
{
    const bool cropped = facts.dropped_cells > 0;
    nlohmann::json out = {
        {"allow_nans", recipe.allow_all_nans || recipe.allow_nans.empty() ? nlohmann::json(recipe.allow_all_nans)
                                                                          : nlohmann::json(recipe.allow_nans)},
        {"attribution", recipe.attribution},
        {"chunks", facts.chunks},
        {"constant_fields", facts.constant_fields},
        {"data_request", data_request(input)},
        {"description", recipe.description},
        {"dimensions", {"dates", "variables", "ensembles", "values"}},
        {"dtype", "float32"},
        {"end_date", format_datetime(recipe.dates.back())},
        {"field_shape", cropped ? nlohmann::json{facts.shape[3]} : nlohmann::json(input.grid().field_shape)},
        {"frequency", frequency_to_string(recipe.frequency)},
        {"last_date", format_datetime(recipe.dates.back(), ' ')},
        {"latest_write_timestamp", now()},
        {"licence", recipe.licence},
        {"missing_dates", dates_as_text(facts.missing_dates)},
        {"order_by", {"valid_datetime", "param_level", "number"}},
        {"proj_string", nullptr},
        {"provenance_load", {{"module_versions", {{"gradwind", {{"version", GRADWIND_VERSION}}}}}, {"time", now()}}},
        {"recipe", recipe.source.to_json()},
        {"remapping", {{"param_level", "{param}_{levelist}"}}},
        {"resolution", input.grid().resolution},
        {"shape", facts.shape},
        {"start_date", format_datetime(recipe.dates.front())},
        {"statistics_end_date", format_datetime(recipe.statistics_end)},
        {"statistics_start_date", format_datetime(recipe.statistics_start)},
        {"total_number_of_files", facts.size.files},
        {"total_size", facts.size.bytes},
        {"uuid", random_uuid()},
        {"variables", input.names()},
        {"variables_metadata", variables_metadata(input, facts)},
        {"version", layout_version},
    };
    if (cropped)
        out["gradwind"] = {{"dropped_cells", facts.dropped_cells}, {"field_shape_of_source", input.grid().field_shape}};
    return out;
}

} // namespace gradwind::data
