// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// `gradwind config check | show | keys`.
#pragma once
#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

namespace gradwind::cli
{

struct ConfigCommand {
    /// Check: says whether a configuration can be used. Show: prints it resolved. Keys: the page of every key.
    enum class Action { Check, Show, Keys } action = Action::Check;
    std::filesystem::path file; ///< unused by Keys
    std::vector<std::string> overrides;
    enum class Format { Yaml, Json } format = Format::Yaml;
    enum class Origins { Hide, Show } origins = Origins::Hide; ///< of Show: where each value comes from
};

/// @return the exit code, 0 @throws ConfigError as load_config and check_config do
int run(const ConfigCommand& command, std::ostream& out);

} // namespace gradwind::cli
