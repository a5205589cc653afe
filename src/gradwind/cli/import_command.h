// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// `gradwind import`: a checkpoint of Anemoi to a run folder, a graph to safetensors.
#pragma once
#include <filesystem>
#include <iosfwd>
#include <string>

namespace gradwind::cli
{

struct ImportCommand {
    std::filesystem::path anemoi;   ///< training or inference checkpoint; empty: only the graph
    std::filesystem::path graph;    ///< HeteroData (.pt) to take in place of the checkpoint's; empty: none
    std::filesystem::path matrices; ///< folder with matrices that the checkpoint's configuration names; may be empty
    std::filesystem::path output;   ///< run folder to make; of a graph alone the safetensors file
    std::string python;             ///< that has Anemoi; empty: GRADWIND_PYTHON, else python3
};

int run(const ImportCommand& command, std::ostream& out);

} // namespace gradwind::cli
