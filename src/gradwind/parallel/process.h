// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Child processes that never outlive their parent: for launch_local() and for tests with several ranks.
#pragma once
#include "gradwind/parallel/launch.h"

#include <sys/types.h>

namespace gradwind::parallel
{

struct ChildOptions {
    std::vector<std::string> command = {}; ///< path of the executable, then its arguments
    Variables variables = {};              ///< added to, or replacing those of, this process's environment
    int stdout_fd = -1;                    ///< -1: shared with this process
    int stderr_fd = -1;
};

/// fork + exec. The child is killed when the calling thread's process dies and ignores no signal that we ignore.
/// @return its process id
/// @throws CommError if the process cannot be created or the executable cannot be run
[[nodiscard]] pid_t spawn_child(const ChildOptions& options);

/// A temporary folder that only this user can enter; removed with what is in it on destruction.
class PrivateFolder
{
public:
    PrivateFolder();
    ~PrivateFolder();
    PrivateFolder(const PrivateFolder&) = delete;
    PrivateFolder& operator=(const PrivateFolder&) = delete;
    [[nodiscard]] const std::filesystem::path& path() const& { return path_; }
    const std::filesystem::path& path() const&& = delete;

private:
    std::filesystem::path path_;
};

/// Exit code of a status from waitpid(), in the shell's convention: 128 + n where signal n ended the process.
[[nodiscard]] int exit_code_of(int wait_status);

} // namespace gradwind::parallel
