// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// `gradwind graph create | inspect | cut`.
#pragma once
#include "gradwind/cli/graph_cut.h"

#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

namespace gradwind::cli
{

struct GraphCommand {
    /// Create: builds the graph of a configuration and writes it. Inspect: says what a stored graph holds. Cut: what it
    /// costs to share it between processes.
    enum class Action { Create, Inspect, Cut } action = Action::Inspect;
    std::filesystem::path config_or_graph; ///< Create: a YAML file with a `graph:` section; others: a stored graph
    std::filesystem::path output;          ///< of Create
    std::vector<std::string> overrides;    ///< of Create
    CutOptions cut;                        ///< of Cut
    enum class Format { Text, Json } format = Format::Text;
};

/// @return the exit code, 0 @throws ConfigError, DataError
int run(const GraphCommand& command, std::ostream& out);

} // namespace gradwind::cli
