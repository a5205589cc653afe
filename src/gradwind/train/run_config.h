// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The configuration that a run folder keeps.
#pragma once
#include "gradwind/core/config.h"

#include <filesystem>
#include <string>
#include <vector>

namespace gradwind::train
{

/// The run folder of a path that may name the run, its checkpoints or one of them: the nearest with a configuration.
/// @throws CheckpointError if there is none
[[nodiscard]] std::filesystem::path run_folder_of(const std::filesystem::path& path);

/// The configuration of a run with overrides.
///
/// It is stored resolved, so a data set that has moved is named in many places: all of them follow an override of
/// `system.input.dataset`. A graph that the run folder holds is the run's, unless the overrides name another.
/// @throws ConfigError
[[nodiscard]] Config load_run_config(const std::filesystem::path& run_folder, std::vector<std::string> overrides);

/// Name of the graph in a run folder: there if the run's graph is not made by its `graph` section alone.
inline constexpr const char* kRunGraph = "graph.safetensors";
/// Name of the folder with the matrices that the configuration of an imported run names, relative to its folder.
inline constexpr const char* kRunMatrices = "matrices";

} // namespace gradwind::train
