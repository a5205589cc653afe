// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// `gradwind dataset create RECIPE OUTPUT [key=value ...]`
#pragma once
#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

namespace gradwind::cli
{

struct DatasetCreate {
    enum class Existing { Refuse, Overwrite };
    std::filesystem::path recipe;
    std::filesystem::path output;
    Existing existing = Existing::Refuse;
    std::vector<std::string> overrides; ///< key=value, applied to the recipe
};

/// Makes the data set, showing progress on `out`: one line that is rewritten if `out` is standard output on a
/// terminal, else a line every five seconds. @return exit status 0 @throws ConfigError, DataError
int run(const DatasetCreate& command, std::ostream& out);

} // namespace gradwind::cli
