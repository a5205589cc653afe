// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/data/create_input.h"

#include "gradwind/core/error.h"
#include "gradwind/core/text.h"
#include "gradwind/data/forcings.h"
#include "gradwind/data/source_files.h"
#include "gradwind/data/waves_source.h"

#include <algorithm>
#include <cmath>
#include <fmt/ranges.h>

namespace gradwind::data
{

namespace
{

const std::vector<std::string> source_kinds = {"constants", "forcings", "grib", "netcdf", "planetary_waves"};

/// One entry of the input: its kind and what is said about it.
struct Item {
    std::string kind;
    Config config;
    [[nodiscard]] bool computed() const { return kind == "forcings" || kind == "constants"; }
};

Item item_of(const Config& entry)
{
    GRADWIND_CHECK(entry.is_map() && entry.keys().size() == 1, ConfigError,
                   "[dataset] {} must be one source, for example `netcdf: {{path: FILE}}`", entry.where());
    const auto kind = entry.keys().front();
    GRADWIND_CHECK(std::ranges::find(source_kinds, kind) != source_kinds.end(), ConfigError,
                   "[dataset] {}: `{}` is not a source known here{}; there are join, {}", entry.where(), kind,
                   did_you_mean(kind, source_kinds), fmt::join(source_kinds, ", "));
    return {kind, entry.at(kind)};
}

std::vector<Item> items_of(const Config& input)
{
    std::vector<Item> out;
    if (!input.has("join")) {
        out.push_back(item_of(input));
        return out;
    }
    check_keys(input, {"join"});
    const auto join = input.at("join");
    GRADWIND_CHECK(join.is_list() && !join.items().empty(), ConfigError, "[dataset] {} must be a list of sources",
                   join.where());
    for (const auto& entry : join.items())
        out.push_back(item_of(entry));
    return out;
}

/// The join's position that a forcing's template "${input.join.0.grib}" refers to.
size_t template_index(const Item& item, const std::vector<Item>& items, size_t fallback)
{
    if (!item.config.has("template"))
        return fallback;
    const auto given = item.config.at("template");
    if (given.kind() != Config::Kind::String)
        return fallback; // references were resolved: the template is a copy of a source's description
    const auto text = given.as<std::string>();
    for (size_t i = 0; i < items.size(); ++i)
        if (!items[i].computed() && (text == fmt::format("${{input.join.{}.{}}}", i, items[i].kind) ||
                                     text == fmt::format("${{input.{}}}", items[i].kind)))
            return i;
    throw ConfigError(fmt::format("[dataset] {}: `{}` refers to no source with a grid; expected for example "
                                  "${{input.join.0.netcdf}}",
                                  given.where(), text));
}

std::unique_ptr<Source> make_source(const Item& item, const Recipe& recipe)
{
    if (item.kind == "netcdf")
        return netcdf_source(item.config, recipe.folder);
    if (item.kind == "grib")
        return grib_source(item.config, recipe.folder);
    return planetary_waves_source(item.config, recipe.dates);
}

std::unique_ptr<Source> make_forcings(const Item& item, const SourceGrid& grid, const std::vector<int64_t>& members)
{
    check_keys(item.config, {"template", "param"});
    return forcing_source(item.config.get<std::vector<std::string>>("param"), grid, members);
}

/// Points may differ by what single precision makes of them.
bool same_points(const SourceGrid& a, const SourceGrid& b)
{
    constexpr double tolerance = 1e-4;
    const auto near = [](double x, double y) { return std::abs(x - y) <= tolerance; };
    return a.size() == b.size() && std::ranges::equal(a.latitudes, b.latitudes, near) &&
           std::ranges::equal(a.longitudes, b.longitudes, near);
}

} // namespace

CreateInput::CreateInput(const Recipe& recipe)
{
    const auto items = items_of(recipe.input);
    const auto measured = std::ranges::find_if(items, [](const Item& item) { return !item.computed(); });
    GRADWIND_CHECK(measured != items.end(), ConfigError,
                   "[dataset] {}: forcings need a source with a grid beside them; add netcdf, grib or planetary_waves",
                   recipe.input.where());
    leader_ = size_t(measured - items.begin());
    sources_.resize(items.size());
    for (size_t i = 0; i < items.size(); ++i) {
        if (items[i].computed())
            continue;
        sources_[i] = make_source(items[i], recipe);
        GRADWIND_CHECK(same_points(sources_[i]->grid(), grid()), DataError,
                       "[dataset] {}: the grid ({} points) is not that of {} ({} points); sources that are joined "
                       "share one grid",
                       sources_[i]->describe(), sources_[i]->grid().size(), sources_[leader_]->describe(),
                       grid().size());
        GRADWIND_CHECK(sources_[i]->members() == members(), DataError,
                       "[dataset] {} has members {}, {} has {}; sources that are joined share their members",
                       sources_[i]->describe(), fmt::join(sources_[i]->members(), ", "), sources_[leader_]->describe(),
                       fmt::join(members(), ", "));
    }
    for (size_t i = 0; i < items.size(); ++i)
        if (items[i].computed())
            sources_[i] =
                make_forcings(items[i], sources_[template_index(items[i], items, leader_)]->grid(), members());
    std::vector<std::pair<std::string, Place>> all;
    for (size_t source = 0; source < sources_.size(); ++source)
        for (size_t variable = 0; variable < sources_[source]->variables().size(); ++variable)
            all.push_back({sources_[source]->variables()[variable].name, {source, variable}});
    std::ranges::stable_sort(all, {}, [](const auto& entry) { return entry.first; });
    for (const auto& [name, place] : all) {
        GRADWIND_CHECK(names_.empty() || names_.back() != name, ConfigError,
                       "[dataset] variable {} comes twice, from {} and from {}; take it from one of them", name,
                       sources_[places_.back().source]->describe(), sources_[place.source]->describe());
        names_.push_back(name);
        places_.push_back(place);
    }
}

const nlohmann::json& CreateInput::metadata(size_t variable) const
{
    const auto place = places_.at(variable);
    return sources_[place.source]->variables()[place.variable].metadata;
}

Source::Kind CreateInput::kind(size_t variable) const
{
    return sources_[places_.at(variable).source]->kind();
}

bool CreateInput::read(size_t variable, int64_t date, std::span<float> out)
{
    const auto place = places_.at(variable);
    return sources_[place.source]->read(place.variable, date, out);
}

std::string CreateInput::describe_source(size_t variable) const
{
    return sources_[places_.at(variable).source]->describe();
}

} // namespace gradwind::data
