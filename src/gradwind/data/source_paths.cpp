// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/error.h"
#include "gradwind/data/source_files.h"

#include <glob.h>

namespace gradwind::data
{

std::vector<std::filesystem::path> source_paths(const Config& source, const std::filesystem::path& folder)
{
    const auto value = source.at("path");
    const auto patterns = value.is_list() ? value.as<std::vector<std::string>>() : std::vector{value.as<std::string>()};
    std::vector<std::filesystem::path> out;
    for (const auto& pattern : patterns) {
        const auto full = (folder / pattern).string(); // an absolute pattern stays as it is
        const auto before = out.size();
        glob_t found = {};
        if (::glob(full.c_str(), GLOB_BRACE, nullptr, &found) == 0)
            for (size_t i = 0; i < found.gl_pathc; ++i)
                if (std::filesystem::is_regular_file(found.gl_pathv[i]))
                    out.emplace_back(found.gl_pathv[i]);
        ::globfree(&found);
        GRADWIND_CHECK(out.size() > before, DataError,
                       "[dataset] {}: no file {}; check the path (it is relative to the recipe)", value.where(), full);
    }
    GRADWIND_CHECK(!out.empty(), ConfigError, "[dataset] {} names no file", value.where());
    return out;
}

} // namespace gradwind::data
