// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Checkpoints: folders that are complete or absent.
#pragma once
#include "gradwind/core/safetensors.h"

#include <ATen/core/Tensor.h>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace gradwind::train
{

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

struct CheckpointContents {
    int64_t step = 0;
    NamedTensors weights;
    NamedTensors optimizer;
    nlohmann::json state; ///< everything else that resumes the run
    /// Why it was written: "step", "epoch", "minutes", "final", "signal". Retention counts each by itself.
    std::vector<std::string> cadences;
};

/// How many checkpoints of a cadence are kept; -1 or a cadence that is not named: all.
using Retention = std::map<std::string, int64_t>;

/// The `checkpoints` folder of a run: `step_NNNNNN/{weights,optimizer}.safetensors, state.json` and the link `last`.
class CheckpointFolder
{
public:
    explicit CheckpointFolder(std::filesystem::path folder, Retention retention = {});
    /// Writes into a temporary folder, syncs, renames, moves `last`, then removes what retention no longer keeps.
    /// On any failure the older checkpoints and `last` are as before. @throws CheckpointError with the system's reason
    std::filesystem::path save(const CheckpointContents& contents) const;
    /// The newest complete checkpoint: what `last` names, else the one with the highest step.
    [[nodiscard]] std::optional<std::filesystem::path> last() const;
    /// All complete checkpoints by step.
    [[nodiscard]] std::map<int64_t, std::filesystem::path> all() const;

private:
    void point_last_at(const std::string& name) const;
    void apply_retention(const std::string& newest) const;

    std::filesystem::path folder_;
    Retention retention_;
};

/// A checkpoint opened for reading.
struct Checkpoint {
    std::filesystem::path folder;
    nlohmann::json state;
    SafetensorsFile weights, optimizer;

    /// @param path  a checkpoint folder, a `checkpoints` folder, or a run folder (then its newest)
    /// @throws CheckpointError if there is none, or a file is missing, truncated or inconsistent
    [[nodiscard]] static Checkpoint open(const std::filesystem::path& path);
};

/// Copies the tensors of a file into existing ones, values converted to their type.
/// @throws CheckpointError naming every tensor that is missing, unexpected or of another shape
void load_tensors(const SafetensorsFile& file, const NamedTensors& destinations);

/// Differences between the value that a checkpoint was made with and the one of now, "key: was a, is b", leaf by leaf.
[[nodiscard]] std::vector<std::string> differences(const nlohmann::json& then, const nlohmann::json& now,
                                                   const std::string& path = "");

} // namespace gradwind::train
