// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// `gradwind train`.
#pragma once
#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

namespace gradwind::cli
{

struct TrainCommand {
    std::filesystem::path config; ///< unused when resuming: the run folder holds its own
    std::vector<std::string> overrides;
    int nproc = 1; ///< processes to start on this machine; 1: this one, or those of srun, torchrun, mpirun
    std::filesystem::path run_dir; ///< empty: a new folder below system.output.root named after config and time
    std::filesystem::path resume;  ///< run folder or checkpoint to go on from; empty: a new run
    /// Every rank also writes what its steps did to `record_rank<r>.json` in the run folder.
    enum class Record { No, Yes } record = Record::No;
};

/// Trains, in this process or in `nproc` new ones, and reports progress: a bar on a terminal, lines otherwise.
/// @return exit code: 0, or ExitCode::Interrupted if a signal ended the run after a checkpoint
/// @throws Error of any kind, see run_training
int run(const TrainCommand& command, std::ostream& out);

} // namespace gradwind::cli
