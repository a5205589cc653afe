// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/loss/variable_groups.h"

#include "gradwind/core/error.h"
#include "gradwind/core/text.h"

#include <algorithm>
#include <cctype>

namespace gradwind::loss
{

namespace
{

const std::vector<std::string>& known_predicates()
{
    static const std::vector<std::string> names = {"param",
                                                   "level",
                                                   "is_pressure_level",
                                                   "is_model_level",
                                                   "is_surface_level",
                                                   "is_constant_in_time",
                                                   "is_computed_forcing",
                                                   "is_accumulation",
                                                   "is_instantanous",
                                                   "is_valid_over_a_period",
                                                   "time_processing"};
    return names;
}

nlohmann::json value_or_null(const nlohmann::json& object, const char* key)
{
    const auto found = object.is_object() ? object.find(key) : object.end();
    return found == object.end() ? nlohmann::json() : *found;
}

nlohmann::json mars_of(const nlohmann::json& metadata)
{
    return value_or_null(metadata, "mars");
}

nlohmann::json is_levtype(const nlohmann::json& metadata, const char* levtype)
{
    const auto value = value_or_null(mars_of(metadata), "levtype");
    return value.is_null() ? nlohmann::json() : nlohmann::json(value == levtype);
}

/// A predicate's value for a variable, from its metadata.
nlohmann::json attribute(const std::string& key, const std::string& variable, const nlohmann::json& metadata)
{
    const auto flag = [&](const char* name) {
        const auto value = value_or_null(metadata, name);
        return value.is_null() ? nlohmann::json(false) : value;
    };
    const auto process = value_or_null(metadata, "process");
    if (key == "param") {
        const auto param = value_or_null(mars_of(metadata), "param");
        return param.is_null() ? nlohmann::json(variable) : param;
    }
    if (key == "level")
        return value_or_null(mars_of(metadata), "levelist");
    if (key == "is_pressure_level")
        return is_levtype(metadata, "pl");
    if (key == "is_model_level")
        return is_levtype(metadata, "ml");
    if (key == "is_surface_level")
        return is_levtype(metadata, "sfc");
    if (key == "is_constant_in_time")
        return flag("constant_in_time");
    if (key == "is_computed_forcing")
        return flag("computed_forcing");
    if (key == "is_accumulation")
        return process == "accumulation";
    if (key == "is_instantanous")
        return process.is_null();
    if (key == "is_valid_over_a_period")
        return !process.is_null();
    return process; // time_processing
}

std::optional<double> number(const nlohmann::json& value)
{
    if (value.is_number())
        return value.get<double>();
    if (value.is_string() && !value.get<std::string>().empty())
        return std::stod(value.get<std::string>());
    return std::nullopt;
}

/// "t_850" -> ("t", 850); a name without a tail of digits stays whole.
VariablePlace split_name(const std::string& variable)
{
    const auto underscore = variable.rfind('_');
    const auto is_digit = [](unsigned char c) { return std::isdigit(c) != 0; };
    if (underscore == std::string::npos || underscore + 1 == variable.size() ||
        !std::all_of(variable.begin() + int64_t(underscore) + 1, variable.end(), is_digit))
        return {{}, variable, std::nullopt};
    return {{}, variable.substr(0, underscore), std::stod(variable.substr(underscore + 1))};
}

bool trusted(const nlohmann::json* metadata)
{
    if (metadata == nullptr)
        return false;
    const bool surface = is_levtype(*metadata, "sfc") == true;
    return surface == value_or_null(mars_of(*metadata), "levelist").is_null();
}

nlohmann::json as_list(const nlohmann::json& value)
{
    return value.is_array() ? value : nlohmann::json::array({value});
}

bool contains(const nlohmann::json& list, const nlohmann::json& value)
{
    return std::find(list.begin(), list.end(), value) != list.end();
}

} // namespace

VariableGroups::VariableGroups(const Config& groups, nlohmann::json metadata)
    : metadata_(std::move(metadata)), where_(groups.where())
{
    GRADWIND_CHECK(groups.has("default"), ConfigError,
                   "[loss] {} must name the `default` group, for variables that no other group holds", groups.where());
    default_group_ = groups.get<std::string>("default");
    for (const auto& name : groups.keys()) {
        if (name == "default")
            continue;
        const auto group = groups.at(name);
        Rule rule{name, group.to_json()};
        if (!group.is_map()) {
            rule.spec = as_list(rule.spec);
        } else {
            for (auto& [key, value] : rule.spec.items()) {
                const auto& known = known_predicates();
                GRADWIND_CHECK(std::find(known.begin(), known.end(), key) != known.end(), ConfigError,
                               "[loss] group `{}` selects by `{}`, which is no property of a variable{} ({})", name,
                               key, did_you_mean(key, known), group.where());
                value = as_list(value);
            }
        }
        rules_.push_back(std::move(rule));
    }
}

const nlohmann::json* VariableGroups::metadata_of(const std::string& variable) const
{
    if (!metadata_.is_object())
        return nullptr;
    const auto found = metadata_.find(variable);
    return found == metadata_.end() ? nullptr : &*found;
}

bool VariableGroups::matches(const Rule& rule, const std::string& variable, const std::string& param) const
{
    if (rule.spec.is_array())
        return contains(rule.spec, param);
    const auto* metadata = metadata_of(variable);
    if (metadata == nullptr) {
        GRADWIND_CHECK(
            rule.spec.size() == 1 && rule.spec.contains("param"), ConfigError,
            "[loss] group `{}` selects by properties that the data set's metadata must give, but it has none for {}; "
            "use a list of parameters ({})",
            rule.group, variable, where_);
        return contains(rule.spec.at("param"), param);
    }
    return std::all_of(rule.spec.items().begin(), rule.spec.items().end(), [&](const auto& item) {
        return contains(item.value(), attribute(item.key(), variable, *metadata));
    });
}

VariablePlace VariableGroups::place(const std::string& variable) const
{
    auto place = split_name(variable);
    if (const auto* metadata = metadata_of(variable); trusted(metadata)) {
        const auto param = attribute("param", variable, *metadata);
        place.param = param.is_string() ? param.get<std::string>() : param.dump();
        place.level = number(attribute("level", variable, *metadata));
    }
    const auto rule = std::find_if(rules_.begin(), rules_.end(),
                                   [&](const Rule& candidate) { return matches(candidate, variable, place.param); });
    place.group = rule == rules_.end() ? default_group_ : rule->group;
    return place;
}

bool VariableGroups::has(const std::string& group) const
{
    return group == default_group_ ||
           std::any_of(rules_.begin(), rules_.end(), [&](const Rule& rule) { return rule.group == group; });
}

Config dataset_section(const Config& section, const std::string& dataset)
{
    const auto datasets = section.find("datasets");
    return datasets && !datasets->is_null() ? datasets->at(dataset) : section;
}

void require_known_keys(const Config& section, const std::vector<std::string>& known)
{
    for (const auto& key : section.keys())
        GRADWIND_CHECK(std::find(known.begin(), known.end(), key) != known.end(), ConfigError,
                       "[loss] unknown key `{}` in {}{}", key, section.where(), did_you_mean(key, known));
}

} // namespace gradwind::loss
