// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/config.h"

#include "gradwind/core/error.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

namespace gradwind
{

namespace
{

const char* name_of(Config::Kind kind)
{
    switch (kind) {
    case Config::Kind::Null:
        return "null";
    case Config::Kind::Bool:
        return "a boolean";
    case Config::Kind::Int:
        return "an integer";
    case Config::Kind::Real:
        return "a number";
    case Config::Kind::String:
        return "a string";
    case Config::Kind::List:
        return "a list";
    case Config::Kind::Map:
        return "a mapping";
    }
    return "?";
}

std::shared_ptr<ConfigNode> node_from_json(const nlohmann::json& json, const std::string& source,
                                           const std::string& path)
{
    auto node = std::make_shared<ConfigNode>();
    node->origin.source = source;
    node->path = path;
    const auto child_path = [&](const std::string& key) { return path.empty() ? key : path + "." + key; };
    if (json.is_boolean()) {
        node->kind = Config::Kind::Bool;
        node->boolean = json.get<bool>();
    } else if (json.is_number_integer()) {
        node->kind = Config::Kind::Int;
        node->integer = json.get<int64_t>();
        node->string = json.dump();
    } else if (json.is_number()) {
        node->kind = Config::Kind::Real;
        node->real = json.get<double>();
        node->string = json.dump();
    } else if (json.is_string()) {
        node->kind = Config::Kind::String;
        node->string = json.get<std::string>();
    } else if (json.is_array()) {
        node->kind = Config::Kind::List;
        for (size_t i = 0; i < json.size(); ++i)
            node->children.push_back(node_from_json(json[i], source, child_path(std::to_string(i))));
    } else if (json.is_object()) {
        node->kind = Config::Kind::Map;
        for (const auto& [key, value] : json.items()) {
            node->keys.push_back(key);
            node->children.push_back(node_from_json(value, source, child_path(key)));
        }
    }
    return node;
}

nlohmann::json node_to_json(const ConfigNode& node)
{
    switch (node.kind) {
    case Config::Kind::Null:
        return nullptr;
    case Config::Kind::Bool:
        return node.boolean;
    case Config::Kind::Int:
        return node.integer;
    case Config::Kind::Real:
        return node.real;
    case Config::Kind::String:
        return node.string;
    case Config::Kind::List: {
        auto out = nlohmann::json::array();
        for (const auto& child : node.children)
            out.push_back(node_to_json(*child));
        return out;
    }
    case Config::Kind::Map: {
        auto out = nlohmann::json::object();
        for (size_t i = 0; i < node.keys.size(); ++i)
            out[node.keys[i]] = node_to_json(*node.children[i]);
        return out;
    }
    }
    return nullptr;
}

std::shared_ptr<const ConfigNode> child_of(const ConfigNode& node, std::string_view key)
{
    if (node.kind == Config::Kind::Map) {
        const auto found = std::find(node.keys.begin(), node.keys.end(), key);
        return found == node.keys.end() ? nullptr : node.children[size_t(found - node.keys.begin())];
    }
    if (node.kind == Config::Kind::List) {
        size_t index = 0;
        const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), index);
        if (error == std::errc() && end == key.data() + key.size() && index < node.children.size())
            return node.children[index];
    }
    return nullptr;
}

[[noreturn]] void wrong_kind(const Config& config, const char* wanted)
{
    throw ConfigError(
        fmt::format("[config] {} must be {}, but it is {}", config.where(), wanted, name_of(config.kind())));
}

template <class T>
std::vector<T> list_of(const Config& config, const char* wanted)
{
    if (!config.is_list())
        wrong_kind(config, wanted);
    std::vector<T> out;
    for (const auto& item : config.items())
        out.push_back(item.as<T>());
    return out;
}

} // namespace

std::string Origin::str() const
{
    return line > 0 ? fmt::format("{}:{}", source, line) : source;
}

Config::Config() : node_(std::make_shared<ConfigNode>()) {}
Config::Config(std::shared_ptr<const ConfigNode> node) : node_(std::move(node)) {}

Config Config::from_json(const nlohmann::json& json, const std::string& source)
{
    return Config(node_from_json(json, source, ""));
}

nlohmann::json Config::to_json() const
{
    return node_to_json(*node_);
}

Config::Kind Config::kind() const
{
    return node_->kind;
}

const Origin& Config::origin() const
{
    return node_->origin;
}

const std::string& Config::path() const
{
    return node_->path;
}

std::string Config::where() const
{
    return fmt::format("key `{}` ({})", node_->path, node_->origin.str());
}

std::optional<Config> Config::find(std::string_view path) const
{
    auto node = node_;
    while (!path.empty()) {
        const auto dot = path.find('.');
        node = child_of(*node, path.substr(0, dot));
        if (!node)
            return std::nullopt;
        path = dot == std::string_view::npos ? std::string_view() : path.substr(dot + 1);
    }
    return Config(node);
}

bool Config::has(std::string_view path) const
{
    const auto found = find(path);
    return found && !found->is_null();
}

Config Config::at(std::string_view path) const
{
    auto found = find(path);
    GRADWIND_CHECK(found && !found->is_null(), ConfigError, "[config] key `{}{}{}` is missing; it belongs into {}",
                   node_->path, node_->path.empty() ? "" : ".", path, node_->origin.str());
    return *found;
}

template <>
bool Config::as<bool>() const
{
    if (kind() != Kind::Bool)
        wrong_kind(*this, "a boolean (true or false)");
    return node_->boolean;
}

template <>
int64_t Config::as<int64_t>() const
{
    if (kind() != Kind::Int)
        wrong_kind(*this, "an integer");
    return node_->integer;
}

template <>
double Config::as<double>() const
{
    if (kind() == Kind::Int)
        return double(node_->integer);
    if (kind() != Kind::Real)
        wrong_kind(*this, "a number");
    return node_->real;
}

template <>
std::string Config::as<std::string>() const
{
    if (kind() != Kind::String && kind() != Kind::Int && kind() != Kind::Real)
        wrong_kind(*this, "a string");
    return node_->string;
}

template <>
std::vector<int64_t> Config::as<std::vector<int64_t>>() const
{
    return list_of<int64_t>(*this, "a list of integers");
}

template <>
std::vector<double> Config::as<std::vector<double>>() const
{
    return list_of<double>(*this, "a list of numbers");
}

template <>
std::vector<std::string> Config::as<std::vector<std::string>>() const
{
    return list_of<std::string>(*this, "a list of strings");
}

std::string Config::target() const
{
    const auto full = get<std::string>("_target_");
    const auto dot = full.rfind('.');
    return dot == std::string::npos ? full : full.substr(dot + 1);
}

std::vector<std::string> Config::keys() const
{
    return kind() == Kind::Map ? node_->keys : std::vector<std::string>();
}

std::vector<Config> Config::items() const
{
    std::vector<Config> out;
    for (const auto& child : node_->children)
        out.emplace_back(child);
    return out;
}

} // namespace gradwind
