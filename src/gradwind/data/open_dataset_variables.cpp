// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The options that choose variables, members and statistics.
#include "gradwind/core/error.h"
#include "gradwind/core/text.h"
#include "gradwind/data/open_dataset_impl.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

namespace gradwind::data::detail
{

namespace
{

std::vector<std::string> names_of(const Config& value)
{
    return value.is_list() ? value.as<std::vector<std::string>>() : std::vector<std::string>{value.as<std::string>()};
}

int64_t find_name(const std::string& name, const std::vector<std::string>& names, const std::string& where)
{
    const auto found = std::find(names.begin(), names.end(), name);
    GRADWIND_CHECK(found != names.end(), ConfigError, "[data] unknown variable `{}`{} ({}); available: {}", name,
                   did_you_mean(name, names), where, fmt::join(names, ", "));
    return found - names.begin();
}

int64_t member_number(const Config& value)
{
    const auto text = value.as<std::string>();
    int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    GRADWIND_CHECK(error == std::errc() && end == text.data() + text.size(), ConfigError,
                   "[data] {} is `{}`, expected the number of a member", value.where(), text);
    return number;
}

} // namespace

void keep_variables(const std::vector<int64_t>& positions, Selection& selection)
{
    auto& info = selection.info;
    const auto old_info = info;
    const auto old_sources = selection.variables;
    const auto old_names = selection.names_in_statistics;
    info.variables.clear();
    info.statistics = {};
    selection.variables.clear();
    selection.names_in_statistics.clear();
    for (const auto position : positions) {
        const auto i = size_t(position);
        info.variables.push_back(old_info.variables[i]);
        info.statistics.mean.push_back(old_info.statistics.mean[i]);
        info.statistics.stdev.push_back(old_info.statistics.stdev[i]);
        info.statistics.minimum.push_back(old_info.statistics.minimum[i]);
        info.statistics.maximum.push_back(old_info.statistics.maximum[i]);
        selection.variables.push_back(old_sources[i]);
        if (!old_names.empty())
            selection.names_in_statistics.push_back(old_names[i]);
    }
    std::erase_if(info.constant_fields, [&](const std::string& name) {
        return std::find(info.variables.begin(), info.variables.end(), name) == info.variables.end();
    });
}

void keep_members(const std::vector<int64_t>& positions, Selection& selection)
{
    std::vector<int64_t> kept;
    for (const auto position : positions)
        kept.push_back(selection.members[size_t(position)]);
    selection.members = std::move(kept);
    selection.info.n_members = int64_t(selection.members.size());
}

void apply_select(const Config& options, Selection& selection)
{
    if (!options.has("select"))
        return;
    const auto value = options.at("select");
    std::vector<int64_t> positions;
    for (const auto& name : names_of(value)) {
        positions.push_back(find_name(name, selection.info.variables, value.where()));
        GRADWIND_CHECK(std::count(positions.begin(), positions.end(), positions.back()) == 1, ConfigError,
                       "[data] {} names `{}` twice", value.where(), name);
    }
    keep_variables(positions, selection);
}

void apply_drop(const Config& options, Selection& selection)
{
    if (!options.has("drop"))
        return;
    const auto value = options.at("drop");
    std::vector<char> dropped(selection.info.variables.size(), 0);
    for (const auto& name : names_of(value))
        dropped[size_t(find_name(name, selection.info.variables, value.where()))] = 1;
    std::vector<int64_t> positions;
    for (size_t i = 0; i < dropped.size(); ++i)
        if (!dropped[i])
            positions.push_back(int64_t(i));
    keep_variables(positions, selection);
}

void apply_reorder(const Config& options, Selection& selection)
{
    if (!options.has("reorder"))
        return;
    const auto value = options.at("reorder");
    const auto& names = selection.info.variables;
    std::vector<int64_t> positions;
    if (value.is_map()) {
        positions.assign(names.size(), -1);
        for (const auto& name : value.keys()) {
            const auto source = find_name(name, names, value.where());
            const auto place = value.get<int64_t>(name);
            GRADWIND_CHECK(place >= 0 && place < int64_t(names.size()) && positions[size_t(place)] < 0, ConfigError,
                           "[data] {} gives `{}` the position {}; each of 0 to {} must be used once", value.where(),
                           name, place, names.size() - 1);
            positions[size_t(place)] = source;
        }
    } else {
        for (const auto& name : names_of(value))
            positions.push_back(find_name(name, names, value.where()));
    }
    auto sorted = positions;
    std::sort(sorted.begin(), sorted.end());
    const bool once = std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end();
    GRADWIND_CHECK(sorted.size() == names.size() && once && (sorted.empty() || sorted[0] >= 0), ConfigError,
                   "[data] {} must name each of the {} variables once: {}", value.where(), names.size(),
                   fmt::join(names, ", "));
    keep_variables(positions, selection);
}

void apply_rename(const Config& options, Selection& selection)
{
    if (!options.has("rename"))
        return;
    const auto value = options.at("rename");
    GRADWIND_CHECK(value.is_map(), ConfigError, "[data] {} must be a mapping of old to new names", value.where());
    auto& info = selection.info;
    auto metadata = *info.variables_metadata;
    const auto old_names = info.variables;
    for (const auto& old_name : value.keys()) {
        const auto new_name = value.get<std::string>(old_name);
        info.variables[size_t(find_name(old_name, old_names, value.where()))] = new_name;
        std::replace(info.constant_fields.begin(), info.constant_fields.end(), old_name, new_name);
        if (info.variables_metadata->contains(old_name))
            metadata[new_name] = (*info.variables_metadata)[old_name];
    }
    for (const auto& name : info.variables)
        GRADWIND_CHECK(std::count(info.variables.begin(), info.variables.end(), name) == 1, ConfigError,
                       "[data] {} gives the name `{}` to two variables", value.where(), name);
    info.variables_metadata = std::make_shared<const nlohmann::json>(std::move(metadata));
}

void apply_statistics(const Config& options, Selection& selection)
{
    if (!options.has("statistics"))
        return;
    const auto value = options.at("statistics");
    auto other = open_dataset(value);
    auto& info = selection.info;
    info.statistics = {};
    for (const auto& name : info.variables) {
        const auto i = size_t(find_name(name, other->variables(), value.where()));
        info.statistics.mean.push_back(other->statistics().mean[i]);
        info.statistics.stdev.push_back(other->statistics().stdev[i]);
        info.statistics.minimum.push_back(other->statistics().minimum[i]);
        info.statistics.maximum.push_back(other->statistics().maximum[i]);
    }
    selection.statistics_from = std::move(other);
    selection.names_in_statistics = info.variables;
}

void apply_members(const Config& options, Selection& selection)
{
    for (const auto& [key, base] : {std::pair{"number", 1}, {"numbers", 1}, {"member", 0}, {"members", 0}}) {
        if (!options.has(key))
            continue;
        const auto value = options.at(key);
        std::vector<int64_t> kept;
        for (const auto& item : value.is_list() ? value.items() : std::vector<Config>{value}) {
            const auto index = member_number(item) - base;
            GRADWIND_CHECK(index >= 0 && index < int64_t(selection.members.size()), ConfigError,
                           "[data] {} asks for member {}; there are {} of them, and `{}` counts from {}", item.where(),
                           index + base, selection.members.size(), key, base);
            kept.push_back(index);
        }
        std::sort(kept.begin(), kept.end());
        kept.erase(std::unique(kept.begin(), kept.end()), kept.end());
        keep_members(kept, selection);
    }
}

} // namespace gradwind::data::detail
