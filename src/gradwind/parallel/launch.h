// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Which process of the job is this one, who started it, and how do the processes find each other. No torch.
#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace gradwind::parallel
{

using Variables = std::map<std::string, std::string>;
/// The environment of this process.
[[nodiscard]] Variables process_variables();

enum class Launcher { None, Local, Torchrun, OpenMpi, Pmi, Slurm };
/// "--nproc", "torchrun", "mpirun (Open MPI)", ...
[[nodiscard]] const char* name_of(Launcher launcher);

/// Where the processes of a job leave their addresses for each other.
struct Rendezvous {
    std::filesystem::path file; ///< of a store in a folder that all processes share; empty: use host and port
    std::string host;           ///< where rank 0 runs
    int port = 0;
    bool served = false; ///< torchrun's agent listens there: rank 0 serves the next port, else this one
};

/// This process's place in the job.
struct Environment {
    Launcher launcher = Launcher::None;
    int rank = 0;
    int world = 1;
    int local_rank = 0;
    int local_world = 1; ///< processes on this node
    Rendezvous rendezvous;
    /// One line for the log: who won, rank and world, and which launchers further out were set aside.
    std::string description;
};

/// Reads the variables of all known launchers; the innermost one wins: --nproc's own, torchrun, Open MPI, PMI, Slurm.
///
/// A batch script or an interactive allocation of Slurm outside srun is one process, whatever SLURM_NTASKS says.
/// @throws ConfigError if a launcher's variables are incomplete or contradict each other, or if rank 0's address is
///         unknown; says what to set
[[nodiscard]] Environment resolve_environment(const Variables& variables);

/// First host of a Slurm node list: "gpu[07-09,12],login1" -> "gpu07". @throws ConfigError
[[nodiscard]] std::string first_host(const std::string& node_list);

/// What launch_local() needs besides the command.
struct LocalLaunchOptions {
    int processes = 1;
    /// How long the others have to leave once one has failed; then SIGKILL.
    double grace_seconds = 10;
};

/// Runs a command as n processes of this machine, which meet through a file in a private temporary folder.
///
/// Divides the cores over OMP_NUM_THREADS unless that is set. Rank 0's output passes through; a line that another
/// rank writes to stderr is marked "[rank k]", its stdout is dropped (every rank logs the same). An error that several
/// ranks report is shown once, and broken connections only if no rank says what broke them. SIGINT and SIGTERM are
/// forwarded. If one process fails the others are ended. No process survives this one. To be called before other
/// threads are started: they would take the signals.
/// @param command path of the executable and its arguments
/// @return 0, or the exit code of the first process that failed (128 + signal number if a signal ended it)
/// @throws ConfigError if this process is already part of a job or processes < 1; CommError if no process can start
[[nodiscard]] int launch_local(const std::vector<std::string>& command, const LocalLaunchOptions& options);

} // namespace gradwind::parallel
