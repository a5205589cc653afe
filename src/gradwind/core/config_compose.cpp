// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/config_compose.h"

#include "gradwind/core/config_groups.h"
#include "gradwind/core/config_yaml.h"
#include "gradwind/core/error.h"
#include "gradwind/core/text.h"

#include <algorithm>
#include <set>
#include <sstream>

namespace gradwind
{

namespace
{

constexpr size_t max_nesting = 20;

/// One entry of a defaults list.
struct Entry {
    enum class Role { Self, Include, Override } role = Role::Include;
    std::string group; ///< absolute, "" for a bare name in the root
    std::vector<std::string> names;
    std::optional<ConfigPath> package; ///< of `group@package`; relative to the parent's
    bool optional = false;
    Origin origin;
};

struct Document {
    std::string group;
    ConfigPath package;
    std::filesystem::path file; ///< empty for packaged ones
    ConfigDraft content;
};

std::string joined(const std::string& group, const std::string& name)
{
    return group.empty() ? name : group + "/" + name;
}

std::pair<std::string, std::string> split_last(const std::string& name)
{
    const auto slash = name.rfind('/');
    return slash == std::string::npos ? std::pair(std::string(), name)
                                      : std::pair(name.substr(0, slash), name.substr(slash + 1));
}

ConfigPath group_path(std::string group)
{
    std::replace(group.begin(), group.end(), '/', '.');
    return split_path(group);
}

bool take_prefix(std::string& text, const std::string& word)
{
    if (text.rfind(word + " ", 0) != 0)
        return false;
    text.erase(0, word.size() + 1);
    text.erase(0, text.find_first_not_of(' '));
    return true;
}

std::vector<std::string> names_of(const ConfigDraft& value, const Origin& origin)
{
    switch (value.kind) {
    case Config::Kind::Null:
        return {};
    case Config::Kind::List: {
        std::vector<std::string> out;
        for (const auto& item : value.children) {
            GRADWIND_CHECK(!item.is_map() && !item.is_list() && !item.text.empty(), ConfigError,
                           "[config] {}: a `defaults` entry must name files, not {}", origin.str(), "mappings");
            out.push_back(item.text);
        }
        return out;
    }
    case Config::Kind::Map:
        throw ConfigError(
            fmt::format("[config] {}: a `defaults` entry is `group: name`, not a mapping of mappings", origin.str()));
    default:
        return {value.text};
    }
}

/// `# @package name` in the comment lines at the top of a file.
std::optional<ConfigPath> package_header(const std::string& text)
{
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line) && (line.empty() || line[0] == '#' || line == "---");) {
        const auto at = line.find("@package");
        if (at == std::string::npos || line.find_first_not_of("# ") != at)
            continue;
        std::istringstream words(line.substr(at + 8));
        std::string name;
        words >> name;
        if (name == "_global_")
            return ConfigPath();
        if (name != "_group_" && !name.empty())
            return split_path(name);
    }
    return std::nullopt;
}

Entry parse_named_entry(std::string key, const ConfigDraft& value, const Document& parent, const Origin& origin)
{
    Entry entry;
    entry.origin = origin;
    if (take_prefix(key, "override"))
        entry.role = Entry::Role::Override;
    entry.optional = take_prefix(key, "optional");
    if (const auto at = key.find('@'); at != std::string::npos) {
        const auto package = key.substr(at + 1);
        entry.package = package == "_global_" || package == "_here_" ? ConfigPath() : split_path(package);
        key.resize(at);
    }
    entry.group = !key.empty() && key[0] == '/' ? key.substr(1) : joined(parent.group, key);
    entry.names = names_of(value, origin);
    return entry;
}

Entry parse_entry(const ConfigDraft& item, const Document& parent)
{
    const auto& origin = item.origin;
    if (item.is_map()) {
        GRADWIND_CHECK(item.keys.size() == 1, ConfigError,
                       "[config] {}: a `defaults` entry has one `group: name`, not {}", origin.str(), item.keys.size());
        return parse_named_entry(item.keys[0], item.children[0], parent, origin);
    }
    GRADWIND_CHECK(item.is_string(), ConfigError,
                   "[config] {}: a `defaults` entry must be `group: name`, a name or `_self_`", origin.str());
    Entry entry;
    entry.origin = origin;
    auto name = item.text;
    if (name == "_self_") {
        entry.role = Entry::Role::Self;
        return entry;
    }
    entry.optional = take_prefix(name, "optional");
    const bool absolute = name[0] == '/';
    const auto [group, last] = split_last(absolute ? name.substr(1) : name);
    entry.group = absolute || parent.group.empty() ? group : group.empty() ? parent.group : joined(parent.group, group);
    entry.names = {last};
    if (group.empty() && !absolute)
        entry.package = ConfigPath(); // a file beside this one belongs where this one belongs
    return entry;
}

class Composer
{
public:
    Composer(const GroupSearch& search, const std::vector<GroupChoice>& choices) : search_(search)
    {
        for (const auto& choice : choices) {
            if (choice.append)
                appended_.push_back(choice);
            else
                chosen_[choice.group] = {choice.names, choice.written};
        }
    }

    std::vector<ConfigLayer> compose(const std::filesystem::path& file)
    {
        Document primary{"", {}, file, parse_yaml_file(file)};
        include(std::move(primary), 0);
        for (const auto& [group, choice] : chosen_)
            GRADWIND_CHECK(used_.contains(group), ConfigError,
                           "[config] {}: nothing in `defaults` chooses `{}`; write `+{}` to add it", choice.written,
                           group, choice.written.substr(choice.written.rfind(' ') + 1));
        return std::move(layers_);
    }

private:
    struct Choice {
        std::vector<std::string> names;
        std::string written;
    };

    std::vector<Entry> entries_of(Document& document)
    {
        std::vector<Entry> entries;
        bool has_self = false;
        if (const auto* defaults = document.content.child("defaults")) {
            GRADWIND_CHECK(defaults->is_list() || defaults->kind == Config::Kind::Null, ConfigError,
                           "[config] {}: `defaults` must be a list", defaults->origin.str());
            for (const auto& item : defaults->children) {
                entries.push_back(parse_entry(item, document));
                const bool self = entries.back().role == Entry::Role::Self;
                GRADWIND_CHECK(!self || !has_self, ConfigError, "[config] {}: `_self_` is there twice",
                               item.origin.str());
                has_self = has_self || self;
            }
            document.content.erase("defaults");
        }
        if (!has_self)
            entries.push_back({Entry::Role::Self, "", {}, {}, false, {}});
        return entries;
    }

    void include(Document document, size_t depth)
    {
        GRADWIND_CHECK(depth < max_nesting, ConfigError, "[config] {}: `defaults` include each other without end",
                       document.content.origin.str());
        GRADWIND_CHECK(document.content.is_map() || document.content.kind == Config::Kind::Null || depth > 0,
                       ConfigError, "[config] {}: a configuration is a mapping of keys to values",
                       document.content.origin.str());
        auto entries = document.content.is_map() ? entries_of(document)
                                                 : std::vector<Entry>{{Entry::Role::Self, "", {}, {}, false, {}}};
        if (depth == 0)
            for (const auto& choice : appended_)
                entries.push_back({Entry::Role::Include, choice.group, choice.names, {}, false, {choice.written, 0}});
        for (const auto& entry : entries)
            if (entry.role == Entry::Role::Override && !chosen_.contains(entry.group)) {
                chosen_[entry.group] = {entry.names, entry.origin.str() + ": override " + entry.group};
            }
        for (const auto& entry : entries) {
            if (entry.role == Entry::Role::Self)
                layers_.push_back({document.package, std::move(document.content)});
            else if (entry.role == Entry::Role::Include)
                include_entry(entry, document, depth);
        }
    }

    void include_entry(const Entry& entry, const Document& parent, size_t depth)
    {
        auto names = entry.names;
        if (const auto chosen = chosen_.find(entry.group); chosen != chosen_.end()) {
            names = chosen->second.names;
            used_.insert(entry.group);
        }
        for (auto name : names) {
            if (name.size() > 5 && name.ends_with(".yaml"))
                name.resize(name.size() - 5);
            const auto found = search_.find(joined(entry.group, name), parent.file);
            if (!found) {
                if (!entry.optional)
                    no_such_file(entry, name);
                continue;
            }
            Document document;
            document.group = split_last(found->name).first;
            document.file = found->source.rfind("packaged ", 0) == 0 ? "" : found->source;
            document.content = parse_yaml(found->text, found->source);
            document.package = package_of(entry, parent, document, found->text);
            include(std::move(document), depth + 1);
        }
    }

    static ConfigPath package_of(const Entry& entry, const Document& parent, const Document& child,
                                 const std::string& text)
    {
        auto package = parent.package;
        if (entry.package) {
            package.insert(package.end(), entry.package->begin(), entry.package->end());
            return package;
        }
        if (const auto header = package_header(text))
            return *header;
        // The group relative to the parent's: training/single includes training/scalers into training.scalers.
        auto group = child.group;
        if (!parent.group.empty() && group.rfind(parent.group + "/", 0) == 0)
            group.erase(0, parent.group.size() + 1);
        const auto tail = group_path(group);
        package.insert(package.end(), tail.begin(), tail.end());
        return package;
    }

    [[noreturn]] void no_such_file(const Entry& entry, const std::string& name) const
    {
        const auto choices = search_.choices(entry.group);
        const auto place = entry.group.empty() ? std::string("a configuration") : "a choice of `" + entry.group + "`";
        throw ConfigError(fmt::format("[config] {}: `{}` is not {}{}; there are: {}", entry.origin.str(), name, place,
                                      did_you_mean(name, choices), fmt::join(choices, ", ")));
    }

    const GroupSearch& search_;
    std::map<std::string, Choice> chosen_; ///< by group: overrides, the outermost first
    std::vector<GroupChoice> appended_;
    std::set<std::string> used_;
    std::vector<ConfigLayer> layers_;
};

} // namespace

std::optional<GroupText> GroupSearch::find(const std::string& name, const std::filesystem::path& skip) const
{
    const auto file = folder_ / (name + ".yaml");
    std::error_code error;
    const bool is_skipped = !skip.empty() && std::filesystem::equivalent(file, skip, error);
    if (!is_skipped && std::filesystem::is_regular_file(file, error))
        return GroupText{name, file.string(), read_text_file(file)};
    for (const auto& group : packaged_groups())
        if (group.name == name)
            return GroupText{name, "packaged " + name, std::string(group.text)};
    return std::nullopt;
}

bool GroupSearch::has_group(const std::string& group) const
{
    return !choices(group).empty();
}

std::vector<std::string> GroupSearch::choices(const std::string& group) const
{
    std::set<std::string> names;
    for (const auto& packaged : packaged_groups()) {
        const auto [folder, name] = split_last(std::string(packaged.name));
        if (folder == group)
            names.insert(name);
    }
    std::error_code error;
    if (!group.empty())
        for (const auto& file : std::filesystem::directory_iterator(folder_ / group, error))
            if (file.path().extension() == ".yaml")
                names.insert(file.path().stem().string());
    return {names.begin(), names.end()};
}

std::vector<ConfigLayer> compose_layers(const std::filesystem::path& file, const GroupSearch& search,
                                        const std::vector<GroupChoice>& choices)
{
    return Composer(search, choices).compose(file);
}

} // namespace gradwind
