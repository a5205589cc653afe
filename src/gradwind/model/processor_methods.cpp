// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/model/processor_methods.h"

#include "gradwind/core/error.h"
#include "gradwind/core/text.h"

#include <algorithm>
#include <charconv>

namespace gradwind::model
{

Columns::Columns(const VariableTable& variables)
{
    for (auto& list : columns_)
        list.assign(size_t(variables.count()), -1);
    for (int64_t i = 0; i < variables.count(); ++i)
        columns_[size_t(Space::Dataset)][size_t(i)] = i;
    for (int64_t i = 0; i < variables.n_input(); ++i)
        columns_[size_t(Space::ModelInput)][size_t(variables.data_input()[size_t(i)])] = i;
    for (int64_t i = 0; i < variables.n_output(); ++i)
        columns_[size_t(Space::ModelOutput)][size_t(variables.data_output()[size_t(i)])] = i;
}

int64_t require_variable(const std::string& name, const VariableTable& variables, const Config& where)
{
    const auto& names = variables.names();
    const auto found = std::find(names.begin(), names.end(), name);
    GRADWIND_CHECK(found != names.end(), ConfigError, "[processors] {} names {}, which the data set does not have{}",
                   where.where(), name, did_you_mean(name, names));
    return found - names.begin();
}

double require_number(const std::string& text, const Config& where)
{
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    GRADWIND_CHECK(error == std::errc() && end == text.data() + text.size(), ConfigError,
                   "[processors] expected numbers as keys of {}, got `{}`", where.where(), text);
    return value;
}

Methods read_methods(const Config& config, const VariableTable& variables)
{
    Methods out;
    out.config = config;
    out.by_variable.assign(size_t(variables.count()), config.get<std::string>("default", "none"));
    out.listed.assign(size_t(variables.count()), false);
    const auto keys = config.keys();
    const auto items = config.items(); // by position: a key such as "3.25" is no path
    for (size_t i = 0; i < keys.size(); ++i) {
        const bool special =
            keys[i] == "default" || keys[i] == "remap" || keys[i] == "normalizer" || keys[i] == "method_kwargs";
        const bool empty =
            items[i].is_null() || (items[i].kind() == Config::Kind::String && items[i].as<std::string>() == "none");
        if (special || empty)
            continue;
        const auto listed = items[i].is_list() ? items[i].as<std::vector<std::string>>()
                                               : std::vector<std::string>{items[i].as<std::string>()};
        for (const auto& name : listed) {
            const auto index = size_t(require_variable(name, variables, items[i]));
            GRADWIND_CHECK(!out.listed[index], ConfigError, "[processors] {} is listed twice in {}", name,
                           config.where());
            out.listed[index] = true;
            out.by_variable[index] = keys[i];
        }
    }
    return out;
}

} // namespace gradwind::model
