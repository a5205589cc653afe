// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/run_config.h"

#include "gradwind/core/config_loader.h"
#include "gradwind/core/error.h"

#include <algorithm>

namespace gradwind::train
{

namespace fs = std::filesystem;

namespace
{

constexpr const char* kConfig = "config.yaml";
constexpr const char* kDataset = "system.input.dataset";
constexpr const char* kGraph = "system.input.graph";

/// Adds `path=to` for every text in a configuration that is `from`.
void replace_texts(const Config& config, const std::string& from, const std::string& to,
                   std::vector<std::string>& overrides)
{
    if (config.kind() == Config::Kind::String && config.as<std::string>() == from)
        overrides.push_back(fmt::format("{}={}", config.path(), to));
    for (const auto& item : config.items())
        replace_texts(item, from, to, overrides);
}

/// Adds an absolute path for every text that names a matrix in the run folder.
void find_matrices(const Config& config, const fs::path& run_folder, std::vector<std::string>& overrides)
{
    if (config.kind() == Config::Kind::String) {
        const auto text = config.as<std::string>();
        if (text.starts_with(std::string(kRunMatrices) + "/") && fs::exists(run_folder / text))
            overrides.push_back(fmt::format("{}={}", config.path(), fs::absolute(run_folder / text).string()));
    }
    for (const auto& item : config.items())
        find_matrices(item, run_folder, overrides);
}

bool is_text(const Config& config, const char* key)
{
    return config.has(key) && config.at(key).kind() == Config::Kind::String;
}

} // namespace

fs::path run_folder_of(const fs::path& path)
{
    for (auto folder = fs::absolute(path).lexically_normal(); folder != folder.root_path();
         folder = folder.parent_path())
        if (fs::exists(folder / kConfig))
            return folder;
    throw CheckpointError(fmt::format("[run] expected a run folder (with {}) or a checkpoint in one at {}, found {}",
                                      kConfig, path.string(), fs::exists(path) ? "none" : "nothing"));
}

Config load_run_config(const fs::path& run_folder, std::vector<std::string> overrides)
{
    const auto file = run_folder / kConfig;
    const bool names_graph = std::any_of(overrides.begin(), overrides.end(),
                                         [](const auto& text) { return text.find(kGraph) != std::string::npos; });
    if (const auto graph = run_folder / kRunGraph; fs::exists(graph) && !names_graph) {
        overrides.push_back(fmt::format("{}={}", kGraph, fs::absolute(graph).string()));
        overrides.emplace_back("graph.overwrite=false");
    }
    const auto stored = load_config({file, {}});
    if (fs::is_directory(run_folder / kRunMatrices))
        find_matrices(stored, run_folder, overrides);
    auto config = load_config({file, overrides});
    if (!is_text(stored, kDataset) || !is_text(config, kDataset))
        return config;
    const auto from = stored.get<std::string>(kDataset), to = config.get<std::string>(kDataset);
    if (from == to)
        return config;
    replace_texts(config, from, to, overrides);
    return load_config({file, overrides});
}

} // namespace gradwind::train
