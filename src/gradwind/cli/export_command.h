// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// `gradwind export`: a checkpoint to Anemoi's training and inference checkpoints.
#pragma once
#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

namespace gradwind::cli
{

struct ExportCommand {
    std::filesystem::path checkpoint; ///< run folder or one checkpoint in it
    std::filesystem::path output;     ///< NAME.ckpt; inference-NAME.ckpt is written beside it
    std::vector<std::string> overrides;
    std::string python; ///< that has Anemoi; empty: GRADWIND_PYTHON, else python3
};

int run(const ExportCommand& command, std::ostream& out);

} // namespace gradwind::cli
