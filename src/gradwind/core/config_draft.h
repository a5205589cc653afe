// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The changeable form of a configuration, as the loader composes it; Config is its finished, read-only form.
#pragma once
#include "gradwind/core/config.h"

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gradwind
{

/// A dotted path in its parts. A key that contains a dot itself cannot be named by one.
using ConfigPath = std::vector<std::string>;

[[nodiscard]] ConfigPath split_path(std::string_view path);
[[nodiscard]] std::string join_path(const ConfigPath& path);

/// One value of a configuration under construction; copying copies everything below.
struct ConfigDraft {
    Config::Kind kind = Config::Kind::Null;
    bool boolean = false;
    int64_t integer = 0;
    double real = 0;
    std::string text;                  ///< of a String; the text as written of numbers and booleans
    std::vector<std::string> keys;     ///< of a Map, parallel to children
    std::vector<ConfigDraft> children; ///< of a List or Map
    Origin origin;
    std::string reference; ///< the `${...}` that the value was taken from, as written

    [[nodiscard]] bool is_map() const { return kind == Config::Kind::Map; }
    [[nodiscard]] bool is_list() const { return kind == Config::Kind::List; }
    [[nodiscard]] bool is_string() const { return kind == Config::Kind::String; }
    /// The mark for "must be set by the user".
    [[nodiscard]] bool is_missing() const { return is_string() && text == "???"; }
    /// A child of a map by key, of a list by digits; null if there is none.
    [[nodiscard]] const ConfigDraft* child(std::string_view key) const;
    [[nodiscard]] ConfigDraft* child(std::string_view key);
    /// The child, made as a null with this origin if absent; a node that is no map becomes one.
    ConfigDraft& make_child(const std::string& key, const Origin& where);
    /// Removes a key of a map or an element of a list. @return whether it was there
    bool erase(std::string_view key);
    void set_string(std::string value);
};

/// Types a scalar as Hydra reads YAML: `1e-3` is a number, on/off/yes/no are booleans, dates and base-60 numbers
/// strings.
/// @param text as written, without quotes
[[nodiscard]] ConfigDraft typed_scalar(const std::string& text, Origin origin);

/// Called for a string that is a whole reference when a map is merged onto it; gives what the reference stands for, or
/// null.
using Dereference = std::function<const ConfigDraft*(const std::string& text)>;

/// Puts `layer` over `base`: maps are merged key by key, everything else replaces, `???` never replaces.
void merge(ConfigDraft& base, const ConfigDraft& layer, const Dereference& dereference);

/// The finished tree, with full paths.
[[nodiscard]] std::shared_ptr<ConfigNode> freeze(const ConfigDraft& draft, const std::string& path = "");

/// The way back, for working on a finished configuration.
[[nodiscard]] ConfigDraft thaw(const ConfigNode& node);

} // namespace gradwind
