// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// `gradwind graph create | inspect`.
#pragma once
#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

namespace gradwind::cli
{

struct GraphCommand {
    /// Create: builds the graph of a configuration and writes it. Inspect: says what a stored graph holds.
    enum class Action { Create, Inspect } action = Action::Inspect;
    std::filesystem::path config_or_graph; ///< Create: a YAML file with a `graph:` section; Inspect: a graph
    std::filesystem::path output;          ///< of Create
    std::vector<std::string> overrides;    ///< of Create
    enum class Format { Text, Json } format = Format::Text;
};

/// @return the exit code, 0 @throws ConfigError, DataError
int run(const GraphCommand& command, std::ostream& out);

} // namespace gradwind::cli
