// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/config_alias.h"

#include <fmt/format.h>

namespace gradwind
{

namespace
{

// The order matters: what moves out of a section comes before the section itself.
constexpr KeyAlias aliases[] = {
    {"config.*", "*", false},
    {"hardware.files.*", "system.input.*", false},
    {"hardware.paths.output", "system.output.root", false},
    {"hardware", "system.hardware", false},
    {"model.encoder", "model.encoders.0.mapper", false},
    {"model.decoder", "model.decoders.0.mapper", false},
    {"model.encoders.*.mapper.hidden_dim", "model.encoders.*.mapper.num_channels", false},
    {"model.decoders.*.mapper.hidden_dim", "model.decoders.*.mapper.num_channels", false},
    {"model.processor.hidden_dim", "model.processor.num_channels", false},
    {"model.hidden_dim", "model.num_channels", false},
    {"model.trainable_parameters.data", "model.node_trainable_parameters.data", false},
    {"model.trainable_parameters.hidden", "model.node_trainable_parameters.hidden", false},
    {"model.trainable_parameters.*", "model.edge_trainable_parameters.*", false},
    {"model.trainable_parameters", "model.node_trainable_parameters", false},
    {"model.residual", "model.residual.datasets.data", true},
    {"model.output_mask", "model.output_mask.datasets.data", true},
    {"training.training_loss", "training.training_loss.datasets.data", true},
};

/// `path` with the alias applied; empty if it does not apply.
ConfigPath translated(const ConfigPath& path, const KeyAlias& alias)
{
    const auto older = split_path(alias.older);
    if (path.size() < older.size())
        return {};
    std::vector<std::string> captured;
    for (size_t i = 0; i < older.size(); ++i) {
        if (older[i] == "*")
            captured.push_back(path[i]);
        else if (older[i] != path[i])
            return {};
    }
    ConfigPath out;
    size_t next = 0;
    for (const auto& part : split_path(alias.present))
        out.push_back(part == "*" ? captured[next++] : part);
    out.insert(out.end(), path.begin() + std::ptrdiff_t(older.size()), path.end());
    return out;
}

/// All existing paths that match the older spelling.
void matches(const ConfigDraft& node, const ConfigPath& older, ConfigPath& here, std::vector<ConfigPath>& out)
{
    if (here.size() == older.size()) {
        out.push_back(here);
        return;
    }
    if (!node.is_map())
        return;
    for (size_t i = 0; i < node.keys.size(); ++i) {
        if (older[here.size()] != "*" && older[here.size()] != node.keys[i])
            continue;
        here.push_back(node.keys[i]);
        matches(node.children[i], older, here, out);
        here.pop_back();
    }
}

ConfigDraft* at(ConfigDraft& root, const ConfigPath& path, size_t length)
{
    ConfigDraft* node = &root;
    for (size_t i = 0; node && i < length; ++i)
        node = node->child(path[i]);
    return node;
}

void erase_if_empty(ConfigDraft& root, const ConfigPath& path)
{
    for (size_t length = path.size(); length > 0; --length) {
        const auto* node = at(root, path, length);
        if (!node || !node->is_map() || !node->children.empty())
            return;
        at(root, path, length - 1)->erase(path[length - 1]);
    }
}

void move_subtree(ConfigDraft& root, const ConfigPath& from, const KeyAlias& alias, std::vector<std::string>& notes)
{
    auto* source = at(root, from, from.size());
    const bool has_target = source && source->is_map() && source->child("_target_");
    if (!source || (alias.only_with_target && !has_target))
        return;
    const auto to = translated(from, alias);
    notes.push_back(fmt::format("key `{}` ({}) is an older spelling of `{}`", join_path(from), source->origin.str(),
                                join_path(to)));
    auto subtree = std::move(*source);
    auto* parent = at(root, from, from.size() - 1);
    parent->erase(from.back());
    erase_if_empty(root, ConfigPath(from.begin(), from.end() - 1));
    auto* target = &root;
    for (const auto& part : to)
        target = &target->make_child(part, subtree.origin);
    merge(*target, subtree, [](const std::string&) { return nullptr; });
}

} // namespace

std::span<const KeyAlias> key_aliases()
{
    return aliases;
}

ConfigPath present_path(ConfigPath path)
{
    for (const auto& alias : aliases) {
        if (alias.only_with_target)
            continue;
        if (auto out = translated(path, alias); !out.empty())
            path = std::move(out);
    }
    return path;
}

void translate_older_keys(ConfigDraft& root, std::vector<std::string>& notes)
{
    for (const auto& alias : aliases) {
        std::vector<ConfigPath> found;
        ConfigPath here;
        matches(root, split_path(alias.older), here, found);
        for (const auto& path : found)
            move_subtree(root, path, alias, notes);
    }
}

} // namespace gradwind
