// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// YAML text to and from configurations.
#pragma once
#include "gradwind/core/config_draft.h"

#include <filesystem>
#include <string>

namespace gradwind
{

/// Reads one YAML document. @param source for origins and messages
/// @throws ConfigError with source and line for bad YAML, double keys, more than one document or absurd nesting
[[nodiscard]] ConfigDraft parse_yaml(const std::string& text, const std::string& source);

/// @throws ConfigError if the file cannot be read or is bad YAML
[[nodiscard]] ConfigDraft parse_yaml_file(const std::filesystem::path& path);

[[nodiscard]] std::string read_text_file(const std::filesystem::path& path);

enum class Origins { Hide, Show };

/// YAML text that load_config reads back to the same values; with origins as a comment behind each value.
[[nodiscard]] std::string to_yaml(const Config& config, Origins origins = Origins::Hide);

/// JSON in the order of the keys; with origins as one flat map from path to {value, origin}.
[[nodiscard]] std::string to_json_text(const Config& config, Origins origins = Origins::Hide);

} // namespace gradwind
