// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/config_draft.h"

#include <algorithm>
#include <charconv>

namespace gradwind
{

namespace
{

size_t position_of(const ConfigDraft& draft, std::string_view key)
{
    if (draft.is_map())
        return size_t(std::find(draft.keys.begin(), draft.keys.end(), key) - draft.keys.begin());
    size_t index = draft.children.size();
    if (draft.is_list()) {
        const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), index);
        if (error != std::errc() || end != key.data() + key.size())
            index = draft.children.size();
    }
    return std::min(index, draft.children.size());
}

} // namespace

ConfigPath split_path(std::string_view path)
{
    ConfigPath parts;
    while (!path.empty()) {
        const auto dot = path.find('.');
        parts.emplace_back(path.substr(0, dot));
        path = dot == std::string_view::npos ? std::string_view() : path.substr(dot + 1);
    }
    return parts;
}

std::string join_path(const ConfigPath& path)
{
    std::string out;
    for (const auto& part : path)
        out += (out.empty() ? "" : ".") + part;
    return out;
}

const ConfigDraft* ConfigDraft::child(std::string_view key) const
{
    const auto position = position_of(*this, key);
    return position < children.size() ? &children[position] : nullptr;
}

ConfigDraft* ConfigDraft::child(std::string_view key)
{
    return const_cast<ConfigDraft*>(std::as_const(*this).child(key));
}

ConfigDraft& ConfigDraft::make_child(const std::string& key, const Origin& where)
{
    if (auto* found = child(key))
        return *found;
    if (!is_map()) {
        *this = ConfigDraft();
        kind = Config::Kind::Map;
        origin = where;
    }
    keys.push_back(key);
    children.emplace_back();
    children.back().origin = where;
    return children.back();
}

bool ConfigDraft::erase(std::string_view key)
{
    const auto position = position_of(*this, key);
    if (position >= children.size())
        return false;
    children.erase(children.begin() + std::ptrdiff_t(position));
    if (is_map())
        keys.erase(keys.begin() + std::ptrdiff_t(position));
    return true;
}

void ConfigDraft::set_string(std::string value)
{
    kind = Config::Kind::String;
    text = std::move(value);
}

void merge(ConfigDraft& base, const ConfigDraft& layer, const Dereference& dereference)
{
    if (layer.is_missing())
        return;
    if (!layer.is_map()) {
        base = layer;
        return;
    }
    if (base.is_string())
        if (const auto* target = dereference(base.text); target && target->is_map()) {
            const auto origin = base.origin;
            base = ConfigDraft(*target);
            base.origin = origin;
        }
    if (!base.is_map()) {
        base = ConfigDraft();
        base.kind = Config::Kind::Map;
    }
    base.origin = layer.origin;
    for (size_t i = 0; i < layer.keys.size(); ++i) {
        if (auto* existing = base.child(layer.keys[i])) {
            merge(*existing, layer.children[i], dereference);
        } else {
            base.keys.push_back(layer.keys[i]);
            base.children.push_back(layer.children[i]);
        }
    }
}

std::shared_ptr<ConfigNode> freeze(const ConfigDraft& draft, const std::string& path)
{
    auto node = std::make_shared<ConfigNode>();
    node->kind = draft.kind;
    node->boolean = draft.boolean;
    node->integer = draft.integer;
    node->real = draft.real;
    node->string = draft.text;
    node->keys = draft.keys;
    node->origin = draft.origin;
    node->reference = draft.reference;
    node->path = path;
    for (size_t i = 0; i < draft.children.size(); ++i) {
        const auto key = draft.is_map() ? draft.keys[i] : std::to_string(i);
        node->children.push_back(freeze(draft.children[i], path.empty() ? key : path + "." + key));
    }
    return node;
}

ConfigDraft thaw(const ConfigNode& node)
{
    ConfigDraft draft;
    draft.kind = node.kind;
    draft.boolean = node.boolean;
    draft.integer = node.integer;
    draft.real = node.real;
    draft.text = node.string;
    draft.keys = node.keys;
    draft.origin = node.origin;
    draft.reference = node.reference;
    for (const auto& child : node.children)
        draft.children.push_back(thaw(*child));
    return draft;
}

} // namespace gradwind
