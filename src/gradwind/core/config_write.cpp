// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/config_yaml.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace gradwind
{

namespace
{

using Kind = Config::Kind;

/// Whether a string can stand in YAML without quotes and is read back as the same string.
bool is_plain(const std::string& text)
{
    if (text.empty() || typed_scalar(text, {}).kind != Kind::String || text == "<<" || text == "=")
        return false;
    const bool harmless = std::all_of(text.begin(), text.end(), [](char c) {
        return std::isalnum(static_cast<unsigned char>(c)) ||
               std::string_view("_./-+ ").find(c) != std::string_view::npos;
    });
    return harmless && text.front() != ' ' && text.back() != ' ' && text.front() != '-' && text.front() != '.' &&
           text.rfind("--", 0) != 0;
}

/// A double-quoted JSON string is a YAML string too. A reference in it would be followed on reading: `${` is escaped.
std::string quoted(const std::string& text)
{
    std::string escaped;
    for (size_t i = 0; i < text.size(); ++i)
        escaped += text.compare(i, 2, "${") == 0 ? "\\$" : std::string(1, text[i]);
    return nlohmann::json(escaped).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string number_text(const ConfigNode& node)
{
    const auto& text = node.string;
    return !text.empty() && typed_scalar(text, {}).kind == node.kind ? text : fmt::format("{}", node.real);
}

std::string scalar_text(const ConfigNode& node)
{
    switch (node.kind) {
    case Kind::Null:
        return "null";
    case Kind::Bool:
        return node.boolean ? "true" : "false";
    case Kind::Int:
        return std::to_string(node.integer);
    case Kind::Real:
        return number_text(node);
    case Kind::String:
        return is_plain(node.string) ? node.string : quoted(node.string);
    case Kind::List:
        return "[]";
    case Kind::Map:
        return "{}";
    }
    return "null";
}

bool is_block(const ConfigNode& node)
{
    return !node.children.empty();
}

std::string comment(const ConfigNode& node, Origins origins)
{
    if (origins == Origins::Hide)
        return "";
    const auto reference = node.reference.empty() ? "" : " " + node.reference;
    return fmt::format("  # {}{}", node.origin.str(), reference);
}

void write(const ConfigNode& node, int indent, Origins origins, std::string& out)
{
    const std::string blanks(size_t(indent), ' ');
    for (size_t i = 0; i < node.children.size(); ++i) {
        const auto& child = *node.children[i];
        std::string head = "-";
        if (node.kind == Kind::Map)
            head = (is_plain(node.keys[i]) ? node.keys[i] : quoted(node.keys[i])) + ":";
        if (is_block(child)) {
            out += blanks + head + "\n";
            write(child, indent + 2, origins, out);
        } else {
            out += fmt::format("{}{} {}{}\n", blanks, head, scalar_text(child), comment(child, origins));
        }
    }
}

nlohmann::ordered_json ordered(const ConfigNode& node)
{
    switch (node.kind) {
    case Kind::Null:
        return nullptr;
    case Kind::Bool:
        return node.boolean;
    case Kind::Int:
        return node.integer;
    case Kind::Real:
        return std::isfinite(node.real) ? nlohmann::ordered_json(node.real) : nlohmann::ordered_json(nullptr);
    case Kind::String:
        return node.string;
    case Kind::List: {
        auto list = nlohmann::ordered_json::array();
        for (const auto& child : node.children)
            list.push_back(ordered(*child));
        return list;
    }
    case Kind::Map: {
        auto map = nlohmann::ordered_json::object();
        for (size_t i = 0; i < node.keys.size(); ++i)
            map[node.keys[i]] = ordered(*node.children[i]);
        return map;
    }
    }
    return nullptr;
}

void flatten(const ConfigNode& node, nlohmann::ordered_json& out)
{
    if (is_block(node)) {
        for (const auto& child : node.children)
            flatten(*child, out);
        return;
    }
    auto& entry = out[node.path];
    entry["value"] = ordered(node);
    entry["origin"] = node.origin.str();
    if (!node.reference.empty())
        entry["reference"] = node.reference;
}

} // namespace

std::string to_yaml(const Config& config, Origins origins)
{
    const auto& root = config.node();
    if (!is_block(root))
        return scalar_text(root) + "\n";
    std::string out;
    write(root, 0, origins, out);
    return out;
}

std::string to_json_text(const Config& config, Origins origins)
{
    auto json = nlohmann::ordered_json::object();
    if (origins == Origins::Show)
        flatten(config.node(), json);
    else
        json = ordered(config.node());
    return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

} // namespace gradwind
