// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/config_resolve.h"

#include "gradwind/core/config_yaml.h"
#include "gradwind/core/error.h"
#include "gradwind/core/text.h"

#include <algorithm>
#include <cstdlib>
#include <list>
#include <map>

namespace gradwind
{

namespace
{

constexpr size_t max_values = 200'000;
constexpr size_t max_text = 1 << 20;
constexpr size_t max_depth = 200;

/// Position of the brace that closes the reference opened at `open` ("${"); npos if there is none.
size_t closing_brace(const std::string& text, size_t open)
{
    int depth = 0;
    for (size_t i = open; i < text.size(); ++i) {
        if (text.compare(i, 2, "${") == 0) {
            ++depth;
            ++i;
        } else if (text[i] == '}' && --depth == 0) {
            return i;
        }
    }
    return std::string::npos;
}

std::string trimmed(const std::string& text)
{
    const auto first = text.find_first_not_of(' ');
    return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(' ') - first + 1);
}

std::string unquoted(const std::string& text)
{
    const bool quoted = text.size() >= 2 && (text[0] == '\'' || text[0] == '"') && text.back() == text[0];
    return quoted ? text.substr(1, text.size() - 2) : text;
}

class Resolver
{
public:
    Resolver(const ConfigDraft& root, const PathTranslation& translate) : root_(root), translate_(translate) {}

    ConfigDraft resolve(const ConfigDraft& node, const ConfigPath& path)
    {
        GRADWIND_CHECK(++values_ < max_values, ConfigError, "[config] {}: references expand to more than {} values",
                       node.origin.str(), max_values);
        GRADWIND_CHECK(path.size() < max_depth, ConfigError, "[config] {}: references nest deeper than {} levels",
                       node.origin.str(), max_depth);
        if (node.is_string() && node.text.find("${") != std::string::npos)
            return resolve_text(node, path);
        ConfigDraft out = shallow_copy(node);
        for (size_t i = 0; i < node.children.size(); ++i) {
            auto below = path;
            below.push_back(node.is_map() ? node.keys[i] : std::to_string(i));
            out.children.push_back(resolve(node.children[i], below));
        }
        return out;
    }

private:
    struct Done {
        ConfigDraft draft;
        size_t values = 0; ///< how many values it took to resolve
    };
    struct Found {
        const ConfigDraft* node = nullptr;
        ConfigPath path;
    };

    static ConfigDraft shallow_copy(const ConfigDraft& node)
    {
        ConfigDraft out;
        out.kind = node.kind;
        out.boolean = node.boolean;
        out.integer = node.integer;
        out.real = node.real;
        out.text = node.text;
        out.keys = node.keys;
        out.origin = node.origin;
        out.reference = node.reference;
        return out;
    }

    ConfigDraft resolve_text(const ConfigDraft& node, const ConfigPath& path)
    {
        const auto name = join_path(path);
        if (const auto known = done_.find(name); known != done_.end()) {
            values_ += known->second.values;
            GRADWIND_CHECK(values_ < max_values, ConfigError, "[config] {}: references expand to more than {} values",
                           node.origin.str(), max_values);
            return known->second.draft;
        }
        GRADWIND_CHECK(std::find(active_.begin(), active_.end(), name) == active_.end(), ConfigError,
                       "[config] {}: references go in a circle: {} -> {}", node.origin.str(),
                       fmt::join(active_, " -> "), name);
        GRADWIND_CHECK(active_.size() < max_depth, ConfigError, "[config] {}: references nest deeper than {} levels",
                       node.origin.str(), max_depth);
        active_.push_back(name);
        const auto values_before = values_;
        auto out = expand(node.text, path, node.origin);
        out.origin = node.origin;
        out.reference = node.text;
        active_.pop_back();
        done_[name] = {out, values_ - values_before};
        return out;
    }

    /// Text with references, as a value: of any type if it is one reference, else a string.
    ConfigDraft expand(const std::string& text, const ConfigPath& path, const Origin& origin)
    {
        if (text.rfind("${", 0) == 0 && closing_brace(text, 0) == text.size() - 1)
            return evaluate(text.substr(2, text.size() - 3), path, origin);
        std::string out;
        for (size_t i = 0; i < text.size();) {
            if (text.compare(i, 3, "\\${") == 0) {
                const auto end = closing_brace(text, i + 1);
                out += text.substr(i + 1, end == std::string::npos ? end : end - i);
                i = end == std::string::npos ? text.size() : end + 1;
            } else if (text.compare(i, 2, "${") == 0) {
                const auto end = closing_brace(text, i);
                GRADWIND_CHECK(end != std::string::npos, ConfigError,
                               "[config] {}: `{}` has a `${{` that is not closed", origin.str(), text);
                out += as_text(evaluate(text.substr(i + 2, end - i - 2), path, origin), text, origin);
                i = end + 1;
            } else {
                out += text[i++];
            }
            GRADWIND_CHECK(out.size() < max_text, ConfigError, "[config] {}: references expand to more than {} bytes",
                           origin.str(), max_text);
        }
        ConfigDraft value;
        value.origin = origin;
        value.set_string(out);
        return value;
    }

    static std::string as_text(const ConfigDraft& value, const std::string& whole, const Origin& origin)
    {
        GRADWIND_CHECK(!value.is_map() && !value.is_list(), ConfigError,
                       "[config] {}: `{}` inserts a list or mapping into text", origin.str(), whole);
        return value.kind == Config::Kind::Null ? "null" : value.text;
    }

    /// What stands between `${` and `}`.
    ConfigDraft evaluate(const std::string& raw, const ConfigPath& path, const Origin& origin)
    {
        const bool nested = raw.find("${") != std::string::npos;
        const auto body = nested ? as_text(expand(raw, path, origin), raw, origin) : raw;
        const auto colon = body.find(':');
        if (colon == std::string::npos)
            return lookup(body, path, origin);
        return call(trimmed(body.substr(0, colon)), body.substr(colon + 1), path, origin);
    }

    ConfigDraft call(const std::string& resolver, const std::string& arguments, const ConfigPath& path,
                     const Origin& origin)
    {
        const auto comma = arguments.find(',');
        const auto first = unquoted(trimmed(arguments.substr(0, comma)));
        const bool has_default = comma != std::string::npos;
        const auto fallback = has_default ? trimmed(arguments.substr(comma + 1)) : std::string();
        if (resolver == "oc.env") {
            const char* value = std::getenv(first.c_str());
            GRADWIND_CHECK(value || has_default, ConfigError,
                           "[config] {}: the environment variable `{}` is not set; set it, or give a default: "
                           "${{oc.env:{},value}}",
                           origin.str(), first, first);
            if (!value && typed_scalar(fallback, origin).kind == Config::Kind::Null)
                return ConfigDraft();
            ConfigDraft out;
            out.set_string(value ? std::string(value) : unquoted(fallback));
            return out;
        }
        if (resolver == "oc.decode")
            return parse_yaml(unquoted(trimmed(arguments)), origin.source);
        if (resolver == "oc.select") {
            const auto found = find(first, path, origin);
            return found.node ? resolve(*found.node, found.path) : typed_scalar(unquoted(fallback), origin);
        }
        static const std::vector<std::string> known = {"oc.env", "oc.decode", "oc.select"};
        throw ConfigError(fmt::format("[config] {}: unknown resolver `{}`{}; there are: {}", origin.str(), resolver,
                                      did_you_mean(resolver, known), fmt::join(known, ", ")));
    }

    ConfigDraft lookup(const std::string& name, const ConfigPath& path, const Origin& origin)
    {
        const auto found = find(name, path, origin);
        GRADWIND_CHECK(found.node, ConfigError, "[config] {}: `${{{}}}` refers to a key that does not exist{}",
                       origin.str(), name, nearest_path(name));
        return resolve(*found.node, found.path);
    }

    /// The unresolved node at a path; references on the way are followed.
    Found find(const std::string& name, const ConfigPath& path, const Origin& origin)
    {
        auto target = absolute(trimmed(name), path, origin);
        if (const auto* direct = walk(target))
            return {direct, target};
        target = translate_(target);
        return {walk(target), target};
    }

    static ConfigPath absolute(std::string name, const ConfigPath& path, const Origin& origin)
    {
        size_t dots = 0;
        while (dots < name.size() && name[dots] == '.')
            ++dots;
        std::replace(name.begin(), name.end(), '[', '.');
        name.erase(std::remove(name.begin(), name.end(), ']'), name.end());
        if (dots == 0)
            return split_path(name);
        GRADWIND_CHECK(dots <= path.size(), ConfigError, "[config] {}: `${{{}}}` goes above the root", origin.str(),
                       name);
        ConfigPath out(path.begin(), path.end() - std::ptrdiff_t(dots));
        const auto tail = split_path(std::string_view(name).substr(dots));
        out.insert(out.end(), tail.begin(), tail.end());
        return out;
    }

    const ConfigDraft* walk(const ConfigPath& path)
    {
        const ConfigDraft* node = &root_;
        ConfigPath here;
        for (const auto& part : path) {
            if (node->is_string() && node->text.find("${") != std::string::npos) {
                followed_.push_back(resolve(*node, here));
                node = &followed_.back();
            }
            node = node->child(part);
            if (!node)
                return nullptr;
            here.push_back(part);
        }
        return node;
    }

    std::string nearest_path(const std::string& name) const
    {
        std::vector<std::string> paths;
        collect(root_, "", paths);
        return did_you_mean(name, paths);
    }

    static void collect(const ConfigDraft& node, const std::string& path, std::vector<std::string>& out)
    {
        for (size_t i = 0; node.is_map() && i < node.keys.size() && out.size() < 3000; ++i) {
            out.push_back(path.empty() ? node.keys[i] : path + "." + node.keys[i]);
            collect(node.children[i], std::string(out.back()), out);
        }
    }

    const ConfigDraft& root_;
    const PathTranslation& translate_;
    std::vector<std::string> active_;  ///< paths whose references are being followed, outermost first
    std::map<std::string, Done> done_; ///< by path
    std::list<ConfigDraft> followed_;  ///< keeps what walk() has resolved on its way
    size_t values_ = 0;
};

} // namespace

ConfigDraft resolve_references(const ConfigDraft& root, const PathTranslation& translate)
{
    return Resolver(root, translate).resolve(root, {});
}

ConfigPath plain_reference(const std::string& text)
{
    if (text.rfind("${", 0) != 0 || text.back() != '}' || text.find_first_of("$:", 2) != std::string::npos ||
        text.find('}') != text.size() - 1 || text[2] == '.')
        return {};
    return split_path(trimmed(text.substr(2, text.size() - 3)));
}

} // namespace gradwind
