// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/config_schema_tree.h"
#include "gradwind/core/error.h"
#include "gradwind/core/text.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace gradwind
{

namespace
{

using Kind = Config::Kind;

const char* found_kind(Kind kind)
{
    switch (kind) {
    case Kind::Null:
        return "null";
    case Kind::Bool:
        return "a boolean";
    case Kind::Int:
        return "an integer";
    case Kind::Real:
        return "a number";
    case Kind::String:
        return "a string";
    case Kind::List:
        return "a list";
    case Kind::Map:
        return "a mapping";
    }
    return "?";
}

bool all_items(const ConfigNode& node, std::initializer_list<Kind> kinds)
{
    return node.kind == Kind::List && std::all_of(node.children.begin(), node.children.end(), [&](const auto& child) {
               return std::find(kinds.begin(), kinds.end(), child->kind) != kinds.end();
           });
}

struct TypeWord {
    std::string_view word;
    std::string_view phrase;
    bool (*accepts)(const ConfigNode&);
};

constexpr auto is_text = [](const ConfigNode& n) {
    return n.kind == Kind::String || n.kind == Kind::Int || n.kind == Kind::Real;
};

// Numbers pass as strings, because a name may consist of digits.
constexpr TypeWord type_table[] = {
    {"bool", "true or false", [](const ConfigNode& n) { return n.kind == Kind::Bool; }},
    {"int", "an integer", [](const ConfigNode& n) { return n.kind == Kind::Int; }},
    {"real", "a number", [](const ConfigNode& n) { return n.kind == Kind::Int || n.kind == Kind::Real; }},
    {"string", "a string", is_text},
    {"path", "a path", is_text},
    {"date", "a date", [](const ConfigNode& n) { return n.kind == Kind::String || n.kind == Kind::Int; }},
    {"duration", "a duration such as 6h",
     [](const ConfigNode& n) { return n.kind == Kind::String || n.kind == Kind::Int; }},
    {"list", "a list", [](const ConfigNode& n) { return n.kind == Kind::List; }},
    {"ints", "a list of integers", [](const ConfigNode& n) { return all_items(n, {Kind::Int}); }},
    {"reals", "a list of numbers",
     [](const ConfigNode& n) {
         return all_items(n, {Kind::Int, Kind::Real});
     }},
    {"strings", "a list of strings",
     [](const ConfigNode& n) {
         return all_items(n, {Kind::String, Kind::Int, Kind::Real, Kind::Null});
     }},
    {"map", "a mapping", [](const ConfigNode& n) { return n.kind == Kind::Map; }},
    {"dataset", "a path, a mapping of data set options or a list of these",
     [](const ConfigNode& n) { return n.kind == Kind::String || n.kind == Kind::List || n.kind == Kind::Map; }},
    {"any", "anything", [](const ConfigNode&) { return true; }},
};

const TypeWord* find_type(std::string_view word)
{
    const auto* found = std::find_if(std::begin(type_table), std::end(type_table),
                                     [word](const TypeWord& entry) { return entry.word == word; });
    GRADWIND_CHECK(found != std::end(type_table), InternalError, "[internal] no type `{}` in the table of keys", word);
    return found;
}

std::string describe(const ConfigNode& node)
{
    if (node.kind == Kind::List || node.kind == Kind::Map || node.kind == Kind::Null)
        return found_kind(node.kind);
    return fmt::format("{} `{}`", found_kind(node.kind),
                       node.kind == Kind::Bool ? (node.boolean ? "true" : "false") : node.string.c_str());
}

std::string where(const ConfigNode& node)
{
    return fmt::format("key `{}` ({})", node.path, node.origin.str());
}

void check_type(const ConfigNode& node, const KeySpec& spec)
{
    if (accepts_type(node, spec))
        return;
    std::vector<std::string_view> phrases;
    for (const auto& word : type_words(spec))
        phrases.push_back(word.rfind("target:", 0) == 0 ? "a mapping with `_target_`" : find_type(word)->phrase);
    throw ConfigError(
        fmt::format("[config] {} must be {}, but it is {}", where(node), fmt::join(phrases, " or "), describe(node)));
}

double number_of(const ConfigNode& node)
{
    return node.kind == Kind::Int ? double(node.integer) : node.real;
}

bool is_number(const ConfigNode& node)
{
    return node.kind == Kind::Int || node.kind == Kind::Real;
}

bool in_numeric_range(double value, const std::string& range)
{
    if (range.rfind(">= ", 0) == 0)
        return value >= std::stod(range.substr(3));
    if (range.rfind("> ", 0) == 0)
        return value > std::stod(range.substr(2));
    const auto dots = range.find(" .. ");
    return value >= std::stod(range.substr(0, dots)) && value <= std::stod(range.substr(dots + 4));
}

void check_range(const ConfigNode& node, const KeySpec& spec)
{
    const std::string range = spec.range;
    if (range.empty() || node.kind == Kind::Map || node.kind == Kind::Bool)
        return;
    if (node.kind == Kind::List) {
        for (const auto& child : node.children)
            check_range(*child, spec);
        return;
    }
    const bool numeric = range[0] == '>' || range.find(" .. ") != std::string::npos;
    if (numeric && is_number(node)) {
        GRADWIND_CHECK(in_numeric_range(number_of(node), range), ConfigError,
                       "[config] {} must be {}{}{}, but it is {}", where(node),
                       range.find(" .. ") == std::string::npos ? "" : "in ", range,
                       *spec.unit ? fmt::format(" ({})", spec.unit) : "", node.string);
    } else if (!numeric && node.kind == Kind::String) {
        const auto choices = split_words(range, ",");
        if (std::find(choices.begin(), choices.end(), node.string) == choices.end())
            throw ConfigError(fmt::format("[config] {} must be one of {}, but it is `{}`{}", where(node), range,
                                          node.string, did_you_mean(node.string, choices)));
    }
}

class Checker
{
public:
    CheckResult run(const ConfigNode& root)
    {
        visit(root, SchemaTree::get().root());
        if (!missing_.empty()) {
            const auto* node = missing_.front();
            for (const auto* other : missing_) // the place that must be set, not those that refer to it
                if (node->reference.size() > 0 && other->reference.empty())
                    node = other;
            throw ConfigError(fmt::format("[config] {} must be set: it is `???`", where(*node)));
        }
        result_.notes = root.notes;
        return std::move(result_);
    }

private:
    void visit(const ConfigNode& node, const SchemaNode& schema)
    {
        if (schema.is_ignored()) {
            if (node.kind != Kind::Null && node.origin.source.rfind("packaged ", 0) != 0)
                result_.ignored.push_back(node.path);
            return;
        }
        if (node.kind == Kind::Null)
            return;
        if (node.kind == Kind::String && node.string == "???") {
            missing_.push_back(&node);
            return;
        }
        if (schema.spec) {
            check_type(node, *schema.spec);
            check_range(node, *schema.spec);
        } else if (node.kind != Kind::Map && node.kind != Kind::List) {
            throw ConfigError(fmt::format("[config] {} must be {}, but it is {}", where(node),
                                          schema.item && schema.named.empty() ? "a list" : "a mapping",
                                          describe(node)));
        }
        if (const auto family = schema.family(); !family.empty() && node.kind == Kind::Map)
            visit_children(node, target_of(node, family, schema));
        else if (schema.is_dataset())
            visit_dataset(node, schema);
        else if (schema.leads_on())
            visit_children(node, schema);
        else
            find_missing(node);
    }

    void visit_dataset(const ConfigNode& node, const SchemaNode& schema)
    {
        if (node.kind == Kind::Map)
            visit_children(node, *SchemaTree::get().target("data set", "open_dataset"));
        else
            for (const auto& child : node.children)
                visit(*child, schema);
    }

    /// Below a key that may hold anything there is no table, but `???` must be set all the same.
    void find_missing(const ConfigNode& node)
    {
        for (const auto& child : node.children) {
            if (child->kind == Kind::String && child->string == "???")
                missing_.push_back(child.get());
            find_missing(*child);
        }
    }

    static const SchemaNode& target_of(const ConfigNode& node, const std::string& family, const SchemaNode& schema)
    {
        const auto& tree = SchemaTree::get();
        const Config config(std::make_shared<ConfigNode>(node));
        std::string name = schema.spec->fallback;
        if (config.has("_target_"))
            name = config.target();
        GRADWIND_CHECK(!name.empty(), ConfigError, "[config] {} needs a `_target_`: the class of the {}", where(node),
                       family);
        if (const auto* found = tree.target(family, name))
            return *found;
        const auto names = tree.target_names(family);
        throw ConfigError(fmt::format("[config] {}: unknown {} `{}`{}; there are: {}",
                                      where(config.at("_target_").node()), family, name, did_you_mean(name, names),
                                      fmt::join(names, ", ")));
    }

    void visit_children(const ConfigNode& node, const SchemaNode& schema)
    {
        if (node.kind == Kind::List) {
            if (!schema.item && !schema.spec)
                throw ConfigError(fmt::format("[config] {} must be a mapping, but it is a list", where(node)));
            for (const auto& child : node.children)
                if (schema.item)
                    visit(*child, *schema.item);
            return;
        }
        for (size_t i = 0; node.kind == Kind::Map && i < node.keys.size(); ++i) {
            const auto* below = schema.child(node.keys[i]);
            if (!below)
                unknown(*node.children[i], node.keys[i], schema);
            visit(*node.children[i], *below);
        }
    }

    [[noreturn]] static void unknown(const ConfigNode& node, const std::string& key, const SchemaNode& schema)
    {
        const auto prefix = node.path.substr(0, node.path.size() - key.size());
        std::vector<std::string> siblings;
        for (const auto& entry : schema.named)
            siblings.push_back(entry.first);
        auto guess = nearest(key, siblings);
        guess = guess.empty() ? same_key_elsewhere(key) : prefix + guess;
        const auto hint = guess.empty() ? fmt::format("; known here: {}", fmt::join(siblings, ", "))
                                        : fmt::format(" (did you mean `{}`?)", guess);
        throw ConfigError(fmt::format("[config] unknown {}{}", where(node), hint));
    }

    static std::string same_key_elsewhere(const std::string& key)
    {
        for (const auto& path : SchemaTree::get().paths())
            if (path == key || path.ends_with("." + key))
                return path;
        return {};
    }

    CheckResult result_;
    std::vector<const ConfigNode*> missing_;
};

} // namespace

bool accepts_type(const ConfigNode& value, const KeySpec& spec)
{
    const auto words = type_words(spec);
    return std::any_of(words.begin(), words.end(), [&](const std::string& word) {
        return word.rfind("target:", 0) == 0 ? value.kind == Kind::Map : find_type(word)->accepts(value);
    });
}

CheckResult check_config(const Config& config)
{
    return Checker().run(config.node());
}

} // namespace gradwind
