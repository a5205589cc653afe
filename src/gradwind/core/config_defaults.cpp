// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/config_schema_tree.h"
#include "gradwind/core/config_yaml.h"

#include <algorithm>
#include <fmt/format.h>

namespace gradwind
{

namespace
{

using Kind = Config::Kind;

std::string last_component(const std::string& name)
{
    const auto dot = name.rfind('.');
    return dot == std::string::npos ? name : name.substr(dot + 1);
}

class Filler
{
public:
    explicit Filler(ConfigDraft& root) : root_(root) {}

    void fill(ConfigDraft& node, const SchemaNode& schema)
    {
        if (schema.is_ignored())
            return;
        if (schema.spec)
            convert_text(node, *schema.spec);
        if (const auto family = schema.family(); !family.empty() && node.is_map()) {
            const auto* written = node.child("_target_");
            const auto name = last_component(written ? written->text : schema.spec->fallback);
            if (const auto* target = SchemaTree::get().target(family, name))
                fill_children(node, *target);
        } else {
            fill_children(node, schema);
        }
    }

private:
    static Origin default_origin() { return {"default", 0}; }

    void fill_children(ConfigDraft& node, const SchemaNode& schema)
    {
        if (node.is_list() && schema.item)
            for (auto& child : node.children)
                fill(child, *schema.item);
        if (!node.is_map())
            return;
        for (const auto& [key, below] : schema.named) { // in the order of the table: defaults may refer to earlier ones
            if (!node.child(key))
                add(node, key, *below);
            if (auto* child = node.child(key))
                fill(*child, *below);
        }
        for (size_t i = 0; schema.any && i < node.keys.size(); ++i)
            if (schema.child(node.keys[i]) == schema.any.get())
                fill(node.children[i], *schema.any);
    }

    /// Adds an absent key if it, or something below it, has a default.
    void add(ConfigDraft& parent, const std::string& key, const SchemaNode& schema)
    {
        if (schema.is_ignored())
            return;
        ConfigDraft value;
        if (!schema.spec || !schema.family().empty()) {
            value.kind = Kind::Map;
            if (!schema.family().empty() && *schema.spec->fallback)
                value.make_child("_target_", default_origin()).set_string(schema.spec->fallback);
            if (!schema.spec)
                for (const auto& entry : schema.named)
                    add(value, entry.first, *entry.second);
            if (value.keys.empty())
                return;
        } else if (!default_value(*schema.spec, value)) {
            return;
        }
        value.origin = default_origin();
        parent.make_child(key, default_origin()) = std::move(value);
    }

    bool default_value(const KeySpec& spec, ConfigDraft& value) const
    {
        const std::string text = spec.fallback;
        if (text.empty())
            return false;
        if (text.rfind("${", 0) != 0) {
            value = parse_yaml(text, "default");
            return true;
        }
        const ConfigDraft* found = &root_;
        for (const auto& part : split_path(text.substr(2, text.size() - 3)))
            found = found ? found->child(part) : nullptr;
        if (!found)
            return false;
        value = ConfigDraft(*found);
        value.reference = text;
        return true;
    }

    /// "4" becomes 4 where only a number is meant: the environment gives nothing but text.
    static void convert_text(ConfigDraft& node, const KeySpec& spec)
    {
        if (!node.is_string())
            return;
        auto typed = typed_scalar(node.text, node.origin);
        const auto wanted = [&](Kind kind) {
            const auto words = type_words(spec);
            return std::all_of(words.begin(), words.end(), [&](const std::string& word) {
                return word == "real" ? kind == Kind::Int || kind == Kind::Real
                                      : (word == "int" && kind == Kind::Int) || (word == "bool" && kind == Kind::Bool);
            });
        };
        if (wanted(typed.kind)) {
            typed.reference = node.reference;
            node = std::move(typed);
        }
    }

    ConfigDraft& root_;
};

} // namespace

void apply_schema_defaults(ConfigDraft& root, std::vector<std::string>& notes)
{
    Filler(root).fill(root, SchemaTree::get().root());
    auto* training = root.child("training");
    auto* precision = training ? training->child("precision") : nullptr;
    if (precision && precision->is_string() && precision->text == "16-mixed") {
        precision->text = "bf16-mixed";
        notes.push_back(
            fmt::format("key `training.precision` ({}): 16-mixed is taken as bf16-mixed", precision->origin.str()));
    }
}

} // namespace gradwind
