// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Every key that gradwind knows: type, default, range, unit and meaning in one table, and the check against it.
#pragma once
#include "gradwind/core/config.h"
#include "gradwind/core/config_draft.h"

#include <span>
#include <string>
#include <vector>

namespace gradwind
{

/// One key. All fields are text, so that the table reads like the page made from it.
struct KeySpec {
    /// Dotted; `*` is a name that the user chooses, `[]` an element of a list: "graph.edges[].edge_builders[]".
    const char* path;
    /// Words joined by " | ": bool int real string path date duration list ints reals strings map any dataset;
    /// `target:FAMILY` is a mapping whose `_target_` decides what else it may hold; `ignored` is accepted, with all
    /// below, and has no effect.
    const char* type;
    /// YAML, or `${path}` of another key; empty: none. Of a target: the class that is taken if it is absent.
    const char* fallback = "";
    /// ">= 1", "> 0", "0 .. 1" or "a, b, c"; empty: any.
    const char* range = "";
    const char* unit = "";
    const char* meaning = "";
};

/// A part of the table with a heading for the generated page.
struct KeySection {
    const char* title;
    std::span<const KeySpec> keys;
};

/// What a `_target_` may hold besides itself.
struct TargetSpec {
    const char* family; ///< "edge builder"
    const char* name;   ///< last component of `_target_`
    std::vector<std::span<const KeySpec>> keys;
    const char* meaning = "";
};

[[nodiscard]] std::span<const KeySection> key_sections();
[[nodiscard]] std::span<const TargetSpec> target_specs();

struct CheckResult {
    std::vector<std::string> ignored; ///< paths of the user's keys that have no effect here
    std::vector<std::string> notes;   ///< older spellings, replaced values
};

/// Compares a configuration with the table. Only the keys that are present are checked; null passes everywhere.
/// @throws ConfigError for an unknown key (naming the nearest), a wrong type, a value out of range, an unknown
///         `_target_`, or a `???` that was not set; each with file and line
[[nodiscard]] CheckResult check_config(const Config& config);

/// Whether a value has one of the types of a key; classes and ranges are not looked at.
[[nodiscard]] bool accepts_type(const ConfigNode& value, const KeySpec& spec);

/// Fills in the defaults of absent keys (origin "default"), turns text such as "4" from the environment into the number
/// that the key wants, and replaces values of the original that mean something else here, with a note.
void apply_schema_defaults(ConfigDraft& root, std::vector<std::string>& notes);

/// The page of every key, in Markdown.
[[nodiscard]] std::string configuration_page();

} // namespace gradwind
