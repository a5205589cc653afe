// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// `gradwind plan [CONFIG] --world NxG`: what a job will look like, before it is launched.
#pragma once
#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

namespace gradwind::cli
{

struct PlanCommand {
    enum class Format { Text, Json };
    /// Empty: an example of 2 nodes with 4 GPUs each, 2 per model and batch 4.
    std::filesystem::path config = {};
    std::string world = {}; ///< "8x4": nodes x GPUs per node; empty: as in the configuration
    std::vector<std::string> overrides = {};
    Format format = Format::Text;
};

/// Prints groups, effective batch, learning rate and who reads what.
/// @return 0 @throws ConfigError for a configuration or layout that cannot work
int run(const PlanCommand& command, std::ostream& out);

} // namespace gradwind::cli
