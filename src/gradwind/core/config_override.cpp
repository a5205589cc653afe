// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/config_override.h"

#include "gradwind/core/config_alias.h"
#include "gradwind/core/config_yaml.h"
#include "gradwind/core/error.h"

#include <algorithm>

namespace gradwind
{

namespace
{

/// Hydra's `{a:1,b:${x}}` as YAML: a blank behind the colons of a flow mapping, quotes around references in it.
std::string as_flow_yaml(const std::string& text)
{
    std::string out;
    char quote = 0;
    bool in_flow = false;
    for (size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (!quote && in_flow && text.compare(i, 2, "${") == 0) {
            const auto end = std::min(text.find('}', i), text.size() - 1);
            out += "\"" + text.substr(i, end - i + 1) + "\"";
            i = end;
            continue;
        }
        if (quote)
            quote = c == quote ? char(0) : quote;
        else if (c == '\'' || c == '"')
            quote = c;
        in_flow = in_flow || (i == 0 && (c == '{' || c == '['));
        out += c;
        if (!quote && in_flow && c == ':')
            out += ' ';
    }
    return out;
}

ConfigDraft parse_value(const std::string& text, const std::string& written)
{
    const Origin origin{"command line", 0};
    ConfigDraft value;
    value.origin = origin;
    if (text.empty()) {
        value.set_string("");
        return value;
    }
    if (text.rfind("${", 0) == 0) {
        value.set_string(text);
        return value;
    }
    try {
        value = parse_yaml(as_flow_yaml(text), "command line");
    } catch (const ConfigError&) {
        throw ConfigError(fmt::format("[config] {}: `{}` is not a value in YAML", written, text));
    }
    const std::function<void(ConfigDraft&)> without_lines = [&](ConfigDraft& node) {
        node.origin = origin;
        for (auto& child : node.children)
            without_lines(child);
    };
    without_lines(value);
    return value;
}

bool names_a_group(const std::string& key, const ConfigDraft& value, const GroupSearch& search)
{
    if (key.find('.') != std::string::npos || value.is_map())
        return false;
    return key.find('/') != std::string::npos || search.has_group(key);
}

GroupChoice group_choice(const std::string& key, const ConfigDraft& value, const std::string& written)
{
    GroupChoice choice;
    choice.group = key;
    choice.written = written;
    if (value.is_list())
        for (const auto& item : value.children)
            choice.names.push_back(item.text);
    else if (value.kind != Config::Kind::Null)
        choice.names.push_back(value.text);
    return choice;
}

} // namespace

Overrides parse_overrides(const std::vector<std::string>& overrides, const GroupSearch& search)
{
    Overrides out;
    for (const auto& override : overrides) {
        const auto written = "command line: " + override;
        const bool remove = override.rfind('~', 0) == 0;
        const size_t plus = override.rfind("++", 0) == 0 ? 2 : override.rfind('+', 0) == 0 ? 1 : 0;
        const auto body = override.substr(remove ? 1 : plus);
        const auto equals = body.find('=');
        const auto key = body.substr(0, equals);
        GRADWIND_CHECK(!key.empty() && (remove || equals != std::string::npos), ConfigError,
                       "[config] {}: an override is key=value, +key=value, ++key=value or ~key", written);
        const auto value = equals == std::string::npos ? ConfigDraft() : parse_value(body.substr(equals + 1), written);
        if (names_a_group(key, value, search)) {
            auto choice = group_choice(key, value, written);
            choice.append = plus == 1;
            if (remove)
                choice.names.clear();
            out.choices.push_back(std::move(choice));
            continue;
        }
        const auto mode = remove      ? ValueOverride::Mode::Remove
                          : plus == 1 ? ValueOverride::Mode::Add
                                      : ValueOverride::Mode::Set;
        out.values.push_back({mode, present_path(split_path(key)), value, written});
    }
    return out;
}

void apply_override(ConfigDraft& root, const ValueOverride& change, const Dereference& dereference)
{
    ConfigDraft* node = &root;
    const Origin origin{"command line", 0};
    for (size_t i = 0; i < change.path.size(); ++i) {
        if (node->is_string())
            if (const auto* target = dereference(node->text); target && (target->is_map() || target->is_list()))
                *node = ConfigDraft(*target);
        const bool last = i + 1 == change.path.size();
        const bool exists = node->child(change.path[i]) != nullptr;
        GRADWIND_CHECK(exists || !node->is_list(), ConfigError,
                       "[config] {}: the list has {} elements, there is no `{}`", change.written, node->children.size(),
                       change.path[i]);
        GRADWIND_CHECK(exists || change.mode != ValueOverride::Mode::Remove, ConfigError,
                       "[config] {}: there is no key `{}` to remove", change.written, join_path(change.path));
        GRADWIND_CHECK(!last || !exists || change.mode != ValueOverride::Mode::Add, ConfigError,
                       "[config] {}: key `{}` is there already; write `++` to change it", change.written,
                       join_path(change.path));
        if (last && change.mode == ValueOverride::Mode::Remove) {
            node->erase(change.path[i]);
            return;
        }
        node = &node->make_child(change.path[i], origin);
    }
    if (change.mode == ValueOverride::Mode::Set && change.value.is_map())
        merge(*node, change.value, dereference);
    else
        *node = change.value;
}

} // namespace gradwind
