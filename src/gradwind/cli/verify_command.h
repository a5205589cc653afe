// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

namespace gradwind::cli
{

/// `gradwind verify CONFIG --nproc N`: compares every layout of up to N processes with one process.
/// `gradwind verify --golden DIR`: compares with stored results of the original packages.
struct VerifyCommand {
    enum class Format { Text, Json };
    std::filesystem::path config;
    std::vector<std::string> overrides;
    int nproc = 2;
    int64_t steps = 4;
    std::string precision = "64-true";
    std::vector<std::string> layouts; ///< parts of the names of those to try; empty: all
    std::filesystem::path golden;     ///< one case folder or a folder of cases
    std::filesystem::path worker;     ///< order for one process of a layout; not for users
    Format format = Format::Text;
};

/// Prints the table of layouts or cases. @return 0 only if nothing differs, 1 otherwise
/// @throws ConfigError unless there is either a configuration or --golden
int run(const VerifyCommand& command, std::ostream& out);

} // namespace gradwind::cli
