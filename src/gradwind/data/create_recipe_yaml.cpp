// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// YAML files and overrides as Config, with the line of every value.
#include "gradwind/core/error.h"
#include "gradwind/data/create_recipe.h"

#include <charconv>
#include <yaml-cpp/yaml.h>

namespace gradwind::data
{

namespace
{

std::shared_ptr<const ConfigNode> node_from_yaml(const YAML::Node& yaml, const Origin& origin, const std::string& path);

template <class T>
bool is_number(const std::string& text, T& value)
{
    if (text.empty() || std::string_view("+-.0123456789").find(text.front()) == std::string_view::npos)
        return false; // "nan" and "inf" are names here
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() && end == text.data() + text.size();
}

void set_scalar(const YAML::Node& yaml, ConfigNode& node)
{
    node.string = yaml.Scalar();
    node.kind = Config::Kind::String;
    if (yaml.Tag() == "!") // quoted
        return;
    if (node.string == "true" || node.string == "false") {
        node.kind = Config::Kind::Bool;
        node.boolean = node.string == "true";
    } else if (is_number(node.string, node.integer)) {
        node.kind = Config::Kind::Int;
    } else if (is_number(node.string, node.real)) {
        node.kind = Config::Kind::Real;
    }
}

void set_children(const YAML::Node& yaml, const Origin& origin, ConfigNode& node)
{
    const auto below = [&](const std::string& key) { return node.path.empty() ? key : node.path + "." + key; };
    if (yaml.IsSequence()) {
        node.kind = Config::Kind::List;
        for (size_t i = 0; i < yaml.size(); ++i)
            node.children.push_back(node_from_yaml(yaml[i], origin, below(std::to_string(i))));
        return;
    }
    node.kind = Config::Kind::Map;
    for (const auto& entry : yaml) {
        const auto key = entry.first.Scalar();
        GRADWIND_CHECK(std::find(node.keys.begin(), node.keys.end(), key) == node.keys.end(), ConfigError,
                       "[dataset] {}:{}: key `{}` is there twice", origin.source, entry.first.Mark().line + 1,
                       below(key));
        node.keys.push_back(key);
        node.children.push_back(node_from_yaml(entry.second, origin, below(key)));
    }
}

std::shared_ptr<const ConfigNode> node_from_yaml(const YAML::Node& yaml, const Origin& origin, const std::string& path)
{
    auto node = std::make_shared<ConfigNode>();
    node->origin = {origin.source, yaml.Mark().line >= 0 ? yaml.Mark().line + 1 : 0};
    node->path = path;
    if (yaml.IsScalar())
        set_scalar(yaml, *node);
    else if (!yaml.IsNull())
        set_children(yaml, origin, *node);
    return node;
}

void apply_override(YAML::Node root, const std::string& text)
{
    const auto equals = text.find('=');
    GRADWIND_CHECK(equals != std::string::npos && equals > 0, ConfigError,
                   "[dataset] `{}` is not an override; expected key=value, for example dates.frequency=6h", text);
    std::vector<std::string> keys;
    for (size_t begin = 0; begin <= equals;) {
        const auto dot = std::min(text.find('.', begin), equals);
        keys.push_back(text.substr(begin, dot - begin));
        begin = dot + 1;
    }
    auto node = root;
    for (size_t i = 0; i < keys.size(); ++i) {
        size_t index = 0;
        const bool in_list = node.IsSequence();
        GRADWIND_CHECK(!in_list || (is_number(keys[i], index) && index < node.size()), ConfigError,
                       "[dataset] override `{}`: `{}` is not a position in the list", text, keys[i]);
        GRADWIND_CHECK(in_list || node.IsMap() || node.IsNull() || !node.IsDefined(), ConfigError,
                       "[dataset] override `{}`: there is nothing below `{}`", text, i ? keys[i - 1] : "");
        // Assignment to a YAML::Node changes the tree it refers to; reset() makes it refer to another place.
        if (i + 1 == keys.size() && in_list)
            node[index] = YAML::Load(text.substr(equals + 1));
        else if (i + 1 == keys.size())
            node[keys[i]] = YAML::Load(text.substr(equals + 1));
        else
            node.reset(in_list ? node[index] : node[keys[i]]);
    }
}

} // namespace

Config load_recipe(const std::filesystem::path& path, std::span<const std::string> overrides)
{
    try {
        auto yaml = YAML::LoadFile(path.string());
        GRADWIND_CHECK(yaml.IsMap(), ConfigError, "[dataset] {} is not a recipe: a mapping is expected", path.string());
        for (const auto& text : overrides)
            apply_override(yaml, text);
        return Config(node_from_yaml(yaml, {path.string(), 0}, ""));
    } catch (const YAML::BadFile&) {
        throw ConfigError(fmt::format("[dataset] the recipe {} cannot be read; check the path", path.string()));
    } catch (const YAML::Exception& error) {
        throw ConfigError(fmt::format("[dataset] {}:{}: {}", path.string(), error.mark.line + 1, error.msg));
    }
}

} // namespace gradwind::data
