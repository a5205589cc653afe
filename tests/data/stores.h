// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Where the genuine stores are, for tests.
#pragma once
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace gradwind::data
{

/// $GRADWIND_STORES, else ../shared/data/stores beside the source folder.
inline std::filesystem::path stores_folder()
{
    const char* set = std::getenv("GRADWIND_STORES");
    return set ? std::filesystem::path(set) : std::filesystem::path(GRADWIND_SOURCE_DIR) / "../shared/data/stores";
}

inline nlohmann::json load_json(const std::filesystem::path& path)
{
    std::ifstream in(path);
    return nlohmann::json::parse(in);
}

/// NAME.reference.json files with a NAME.zarr beside them, in any folder below.
inline std::vector<std::filesystem::path> find_references(const std::filesystem::path& root)
{
    std::vector<std::filesystem::path> found;
    if (!std::filesystem::is_directory(root))
        return found;
    auto it = std::filesystem::recursive_directory_iterator(root);
    for (; it != std::filesystem::recursive_directory_iterator(); ++it) {
        if (it->path().extension() == ".zarr")
            it.disable_recursion_pending();
        else if (it->path().string().ends_with(".reference.json"))
            found.push_back(it->path());
    }
    std::sort(found.begin(), found.end());
    return found;
}

/// The store that belongs to a reference.
inline std::filesystem::path store_of(const std::filesystem::path& reference)
{
    auto text = reference.string();
    text.resize(text.size() - std::string(".reference.json").size());
    return text + ".zarr";
}

} // namespace gradwind::data
