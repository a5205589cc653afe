// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// `gradwind tune`.
#pragma once
#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

namespace gradwind::cli
{

struct TuneCommand {
    std::filesystem::path config;
    std::vector<std::string> overrides;
    int nproc = 1;
    int64_t steps = 200;
    std::string allow = "bf16"; ///< "fp32", "bf16" or "compression": what may win
    int64_t rank = 4;           ///< of the factors of compression
    std::filesystem::path output = "plan.yaml";
    enum class Format { Text, Json } format = Format::Text;
};

/// Measures how gradients are exchanged best here, prints a table and writes the plan. @throws Error of any kind
int run(const TuneCommand& command, std::ostream& out);

} // namespace gradwind::cli
