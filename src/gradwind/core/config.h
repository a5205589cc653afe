// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// A resolved configuration as a tree of values that remember where they came from.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gradwind
{

/// Where a value was written.
struct Origin {
    std::string source; ///< a file, "command line", "default" or the name of a packaged group
    int line = 0;       ///< 1-based; 0 where lines mean nothing
    [[nodiscard]] std::string str() const;
};

struct ConfigNode;

/// A read-only handle on one node of a configuration; copying it is cheap.
///
/// Paths are keys joined by dots, relative to the node: `config.get<int64_t>("model.processor.num_layers")`. Keys of
/// digits index lists. A value that is absent or null counts as missing everywhere but in find() and is_null().
/// @throws ConfigError naming the full path and the origin, for what is missing or has another type
class Config
{
public:
    enum class Kind { Null, Bool, Int, Real, String, List, Map };

    Config();
    explicit Config(std::shared_ptr<const ConfigNode> node);
    [[nodiscard]] static Config from_json(const nlohmann::json& json, const std::string& source);
    [[nodiscard]] nlohmann::json to_json() const;

    [[nodiscard]] Kind kind() const;
    [[nodiscard]] bool is_null() const { return kind() == Kind::Null; }
    [[nodiscard]] bool is_list() const { return kind() == Kind::List; }
    [[nodiscard]] bool is_map() const { return kind() == Kind::Map; }
    [[nodiscard]] const Origin& origin() const;
    /// Full dotted path from the root; empty for the root.
    [[nodiscard]] const std::string& path() const;
    /// "key `a.b.c` (file.yaml:12)", for messages.
    [[nodiscard]] std::string where() const;

    /// The node at a path, null nodes included; nothing if a key on the way is absent.
    [[nodiscard]] std::optional<Config> find(std::string_view path) const;
    /// Present and not null.
    [[nodiscard]] bool has(std::string_view path) const;
    [[nodiscard]] Config at(std::string_view path) const;

    /// T: bool, int64_t, double (an Int converts), std::string (a number converts), or a std::vector of these.
    template <class T>
    [[nodiscard]] T as() const;
    template <class T>
    [[nodiscard]] T get(std::string_view path) const
    {
        return at(path).template as<T>();
    }
    template <class T>
    [[nodiscard]] T get(std::string_view path, T fallback) const
    {
        return has(path) ? at(path).template as<T>() : fallback;
    }
    /// The last component of `_target_`: "anemoi.graphs.edges.KNNEdges" -> "KNNEdges". @throws ConfigError if absent.
    [[nodiscard]] std::string target() const;

    /// Keys of a map in the order written; empty for other kinds.
    [[nodiscard]] std::vector<std::string> keys() const;
    /// Elements of a list, or values of a map; empty for scalars.
    [[nodiscard]] std::vector<Config> items() const;
    [[nodiscard]] const ConfigNode& node() const { return *node_; }

private:
    std::shared_ptr<const ConfigNode> node_;
};

/// The storage behind Config; built by the loader, read through Config.
struct ConfigNode {
    Config::Kind kind = Config::Kind::Null;
    bool boolean = false;
    int64_t integer = 0;
    double real = 0;
    std::string string;            ///< value of a String; the text as written of a number
    std::vector<std::string> keys; ///< of a Map, parallel to children
    std::vector<std::shared_ptr<const ConfigNode>> children;
    Origin origin;
    std::string path;
    std::string reference;          ///< the `${...}` the value was taken from, as written; empty for most
    std::vector<std::string> notes; ///< of the root: older spellings that the loader translated
};

} // namespace gradwind
