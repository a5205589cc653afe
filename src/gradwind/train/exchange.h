// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Between run folders and the exchange folders that tools/anemoi_bridge.py reads and writes: what a checkpoint of
// Anemoi holds, as safetensors and JSON.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace gradwind::train
{

/// What came of an import.
struct Imported {
    std::filesystem::path checkpoint;
    int64_t step = 0;
    int64_t n_parameters = 0;
    bool is_resumable = false;      ///< whether it has what a training goes on with
    std::vector<std::string> notes; ///< what a user should know: keys without effect, a model that cannot run here
};

/// Makes a run folder of an exchange folder: `config.yaml`, `graph.safetensors`, one checkpoint, and in `anemoi/` what
/// an export needs to make Anemoi's checkpoint again. Forecasts run from it, and trainings begin with its weights.
/// The folder is complete or absent.
/// @throws ConfigError if there is something in `run_dir`; DataError for an exchange folder that is none
[[nodiscard]] Imported import_exchange(const std::filesystem::path& exchange, const std::filesystem::path& run_dir);

/// Writes the exchange folder of a checkpoint. Of an imported run it is the one that came in, with the tensors of now;
/// of another run it is put together from configuration, graph and data set.
/// @param checkpoint  a run folder, its `checkpoints`, or one of them
/// @param overrides   of the run's configuration, such as where the data set is now
/// @throws CheckpointError, ConfigError, DataError
void export_exchange(const std::filesystem::path& checkpoint, const std::vector<std::string>& overrides,
                     const std::filesystem::path& exchange);

} // namespace gradwind::train
