// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <filesystem>
#include <iosfwd>

namespace gradwind::cli
{

/// `gradwind verify --golden DIR`: compares with stored results of the original packages.
struct VerifyCommand {
    enum class Format { Text, Json };
    std::filesystem::path golden; ///< one case folder or a folder of cases
    Format format = Format::Text;
};

/// Prints the table of cases. @return 0 only if every case passed, 1 otherwise
int run(const VerifyCommand& command, std::ostream& out);

} // namespace gradwind::cli
