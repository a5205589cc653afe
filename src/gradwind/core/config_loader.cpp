// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/config_loader.h"

#include "gradwind/core/config_alias.h"
#include "gradwind/core/config_compose.h"
#include "gradwind/core/config_override.h"
#include "gradwind/core/config_resolve.h"
#include "gradwind/core/config_schema.h"
#include "gradwind/core/error.h"

namespace gradwind
{

namespace
{

ConfigDraft placed(ConfigLayer layer)
{
    ConfigDraft root;
    root.kind = Config::Kind::Map;
    root.origin = layer.content.origin;
    auto* node = &root;
    for (const auto& part : layer.package)
        node = &node->make_child(part, layer.content.origin);
    if (layer.content.kind != Config::Kind::Null)
        *node = std::move(layer.content);
    else if (!node->is_map())
        node->kind = Config::Kind::Map;
    return root;
}

const ConfigDraft* unresolved_at(const ConfigDraft& root, const ConfigPath& path)
{
    const ConfigDraft* node = path.empty() ? nullptr : &root;
    for (const auto& part : path)
        node = node ? node->child(part) : nullptr;
    return node;
}

} // namespace

Config load_config(const ConfigRequest& request)
{
    const GroupSearch search(request.file.parent_path());
    const auto overrides = parse_overrides(request.overrides, search);
    std::vector<std::string> notes;
    ConfigDraft root;
    root.kind = Config::Kind::Map;
    const Dereference dereference = [&root](const std::string& text) {
        const auto path = plain_reference(text);
        const auto* target = unresolved_at(root, path);
        return target ? target : unresolved_at(root, present_path(path));
    };
    for (auto& layer : compose_layers(request.file, search, overrides.choices)) {
        auto content = placed(std::move(layer));
        translate_older_keys(content, notes);
        merge(root, content, dereference);
    }
    root.origin = {request.file.string(), 0};
    for (const auto& change : overrides.values)
        apply_override(root, change, dereference);
    root = resolve_references(root, present_path);
    apply_schema_defaults(root, notes);
    const auto node = freeze(root);
    node->notes = std::move(notes);
    return Config(node);
}

} // namespace gradwind
