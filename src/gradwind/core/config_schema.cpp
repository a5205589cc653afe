// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/config_schema.h"

#include "gradwind/core/config_keys.h"
#include "gradwind/core/config_schema_tree.h"
#include "gradwind/core/error.h"

#include <algorithm>

namespace gradwind
{

namespace
{

constexpr KeySpec target_keys[] = {
    {"_target_", "string", "", "", "", "Name of the class; only its last component counts."},
    {"_partial_", "ignored"},
    {"_convert_", "ignored"},
    {"_recursive_", "ignored"},
};

SchemaNode& descend(SchemaNode& node, const std::string& part)
{
    if (part == "*") {
        if (!node.any)
            node.any = std::make_unique<SchemaNode>();
        return *node.any;
    }
    for (auto& [key, child] : node.named)
        if (key == part)
            return *child;
    node.named.emplace_back(part, std::make_unique<SchemaNode>());
    return *node.named.back().second;
}

void insert(SchemaNode& root, const KeySpec& spec)
{
    auto* node = &root;
    for (auto part : split_path(spec.path)) {
        size_t lists = 0;
        for (; part.ends_with("[]"); part.resize(part.size() - 2))
            ++lists;
        if (!part.empty())
            node = &descend(*node, part);
        for (; lists > 0; --lists) {
            if (!node->item)
                node->item = std::make_unique<SchemaNode>();
            node = node->item.get();
        }
    }
    GRADWIND_CHECK(!node->spec, InternalError, "[internal] key `{}` is in the table twice", spec.path);
    node->spec = &spec;
}

} // namespace

std::vector<std::string> split_words(std::string_view text, std::string_view separator)
{
    std::vector<std::string> out;
    while (!text.empty()) {
        const auto end = text.find(separator);
        auto word = text.substr(0, end);
        while (!word.empty() && word.front() == ' ')
            word.remove_prefix(1);
        while (!word.empty() && word.back() == ' ')
            word.remove_suffix(1);
        out.emplace_back(word);
        text = end == std::string_view::npos ? std::string_view() : text.substr(end + separator.size());
    }
    return out;
}

std::vector<std::string> type_words(const KeySpec& spec)
{
    return split_words(spec.type, "|");
}

const SchemaNode* SchemaNode::child(std::string_view key) const
{
    for (const auto& [name, node] : named)
        if (name == key)
            return node.get();
    return any.get();
}

bool SchemaNode::is_ignored() const
{
    return spec && std::string_view(spec->type) == "ignored";
}

bool SchemaNode::is_dataset() const
{
    return spec && std::string_view(spec->type) == "dataset";
}

std::string SchemaNode::family() const
{
    if (spec)
        for (const auto& word : type_words(*spec))
            if (word.rfind("target:", 0) == 0)
                return word.substr(7);
    return {};
}

const SchemaTree& SchemaTree::get()
{
    static const SchemaTree tree;
    return tree;
}

SchemaTree::SchemaTree() : root_(std::make_unique<SchemaNode>())
{
    for (const auto& section : key_sections())
        for (const auto& spec : section.keys) {
            insert(*root_, spec);
            paths_.emplace_back(spec.path);
        }
    for (const auto& target : target_specs()) {
        auto& node = targets_[target.family][target.name];
        GRADWIND_CHECK(!node, InternalError, "[internal] target `{}` is in the table twice", target.name);
        node = std::make_unique<SchemaNode>();
        for (const auto& spec : target_keys)
            insert(*node, spec);
        for (const auto& keys : target.keys)
            for (const auto& spec : keys)
                insert(*node, spec);
    }
}

const SchemaNode* SchemaTree::target(const std::string& family, const std::string& name) const
{
    const auto found = targets_.find(family);
    GRADWIND_CHECK(found != targets_.end(), InternalError, "[internal] no family of targets `{}`", family);
    const auto node = found->second.find(name);
    return node == found->second.end() ? nullptr : node->second.get();
}

std::vector<std::string> SchemaTree::target_names(const std::string& family) const
{
    std::vector<std::string> names;
    if (const auto found = targets_.find(family); found != targets_.end())
        for (const auto& entry : found->second)
            names.push_back(entry.first);
    return names;
}

std::span<const KeySection> key_sections()
{
    static const std::vector<KeySection> sections = {
        {"system: the machine, inputs and outputs", system_keys()},
        {"data: variables and their roles", data_keys()},
        {"dataloader: data sets and batches", dataloader_keys()},
        {"graph: nodes and edges", graph_keys()},
        {"model: the network", model_keys()},
        {"task: what is forecast", task_keys()},
        {"training: loss, optimiser, parallel layout", training_keys()},
        {"diagnostics: logs, checkpoints, pictures", diagnostics_keys()},
    };
    return sections;
}

std::span<const TargetSpec> target_specs()
{
    static const std::vector<TargetSpec> targets = [] {
        std::vector<TargetSpec> all;
        for (const auto& part : {data_targets(), graph_targets(), model_targets(), layer_targets(), training_targets(),
                                 loss_targets(), scaler_targets()})
            all.insert(all.end(), part.begin(), part.end());
        return all;
    }();
    return targets;
}

} // namespace gradwind
