// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/process.h"

#include "gradwind/core/error.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

namespace gradwind::parallel
{
namespace
{

std::vector<char*> pointers(std::vector<std::string>& texts)
{
    std::vector<char*> result;
    for (std::string& text : texts)
        result.push_back(text.data());
    result.push_back(nullptr);
    return result;
}

/// Between fork and exec: only async-signal-safe calls. Reports errno through the pipe if it comes back.
[[noreturn]] void become(char* const* argv, char* const* envp, const ChildOptions& options, pid_t parent, int report_fd)
{
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) // it died before the line above
        ::_exit(127);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    for (const int signal : {SIGINT, SIGTERM, SIGPIPE, SIGCHLD})
        ::signal(signal, SIG_DFL);
    if (options.stdout_fd >= 0)
        ::dup2(options.stdout_fd, STDOUT_FILENO);
    if (options.stderr_fd >= 0)
        ::dup2(options.stderr_fd, STDERR_FILENO);
    ::execve(argv[0], argv, envp);
    const int error = errno;
    [[maybe_unused]] const auto written = ::write(report_fd, &error, sizeof error);
    ::_exit(127);
}

} // namespace

pid_t spawn_child(const ChildOptions& options)
{
    GRADWIND_ASSERT(!options.command.empty());
    std::vector<std::string> arguments = options.command;
    Variables merged = process_variables();
    for (const auto& [name, value] : options.variables)
        merged[name] = value;
    std::vector<std::string> lines;
    for (const auto& [name, value] : merged)
        lines.push_back(name + "=" + value);
    const auto argv = pointers(arguments);
    const auto envp = pointers(lines);
    int report[2];
    GRADWIND_CHECK(::pipe2(report, O_CLOEXEC) == 0, CommError, "[launch] no pipe for a child process: {}",
                   std::strerror(errno));
    const pid_t parent = ::getpid();
    const pid_t child = ::fork();
    if (child == 0)
        become(argv.data(), envp.data(), options, parent, report[1]);
    const int fork_error = errno;
    ::close(report[1]);
    int error = 0;
    const bool failed = child < 0 || ::read(report[0], &error, sizeof error) == sizeof error;
    ::close(report[0]);
    if (child > 0 && failed)
        ::waitpid(child, nullptr, 0);
    GRADWIND_CHECK(!failed, CommError, "[launch] cannot start `{}`: {}", arguments[0],
                   std::strerror(child < 0 ? fork_error : error));
    return child;
}

PrivateFolder::PrivateFolder()
{
    std::string pattern = (std::filesystem::temp_directory_path() / "gradwind-XXXXXX").string();
    GRADWIND_CHECK(::mkdtemp(pattern.data()) != nullptr, CommError, "[launch] cannot create a folder like {}: {}",
                   pattern, std::strerror(errno));
    path_ = pattern;
}

PrivateFolder::~PrivateFolder()
{
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

int exit_code_of(int wait_status)
{
    return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

} // namespace gradwind::parallel
