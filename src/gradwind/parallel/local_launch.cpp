// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/error.h"
#include "gradwind/parallel/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <thread>

namespace gradwind::parallel
{
namespace
{

using Clock = std::chrono::steady_clock;

/// SIGINT, SIGTERM and SIGCHLD as readable events instead of interruptions, for the life of the object.
class SignalEvents
{
public:
    SignalEvents()
    {
        ::sigemptyset(&watched_);
        for (const int signal : {SIGINT, SIGTERM, SIGCHLD})
            ::sigaddset(&watched_, signal);
        ::pthread_sigmask(SIG_BLOCK, &watched_, &before_);
        fd_ = ::signalfd(-1, &watched_, SFD_CLOEXEC | SFD_NONBLOCK);
    }
    ~SignalEvents()
    {
        ::close(fd_);
        ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }
    SignalEvents(const SignalEvents&) = delete;
    SignalEvents& operator=(const SignalEvents&) = delete;
    [[nodiscard]] int fd() const { return fd_; }
    /// The next signal that arrived, 0 if there is none.
    [[nodiscard]] int next() const
    {
        signalfd_siginfo info{};
        return ::read(fd_, &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo) : 0;
    }

private:
    sigset_t watched_{};
    sigset_t before_{};
    int fd_ = -1;
};

struct Child {
    int rank = 0;
    pid_t pid = -1;   ///< -1 once it has ended
    int output = -1;  ///< read end of its stderr; -1 when shared or closed
    std::string line; ///< begun, not ended
};

void write_all(int fd, const std::string& text)
{
    for (size_t done = 0; done < text.size();) {
        const auto n = ::write(fd, text.data() + done, text.size() - done);
        if (n <= 0)
            return; // nobody reads our stderr: nothing sensible is left to do with the text
        done += static_cast<size_t>(n);
    }
}

/// The processes of one job and what has become of them.
class LocalJob
{
public:
    LocalJob(const std::vector<std::string>& command, const LocalLaunchOptions& options) : options_(options)
    {
        for (int rank = 0; rank < options.processes; ++rank)
            start(command, rank);
    }
    ~LocalJob()
    {
        signal_all(SIGKILL); // only where something threw: otherwise all have ended
        for (Child& child : children_) {
            if (child.pid > 0)
                ::waitpid(child.pid, nullptr, 0);
            if (child.output >= 0)
                ::close(child.output);
        }
    }
    LocalJob(const LocalJob&) = delete;
    LocalJob& operator=(const LocalJob&) = delete;

    [[nodiscard]] int run()
    {
        while (running() > 0) {
            wait_for_event();
            while (const int signal = signals_.next())
                if (signal != SIGCHLD)
                    signal_all(signal);
            for (Child& child : children_)
                forward_output(child);
            collect_ended();
            if (term_at_ && Clock::now() >= *term_at_) {
                signal_all(SIGTERM);
                term_at_.reset();
            }
            if (kill_at_ && Clock::now() >= *kill_at_)
                signal_all(SIGKILL);
        }
        for (Child& child : children_)
            forward_output(child);
        return exit_code_;
    }

private:
    void start(const std::vector<std::string>& command, int rank)
    {
        const int world = options_.processes;
        ChildOptions child;
        child.command = command;
        child.variables = {{"GRADWIND_RANK", std::to_string(rank)},
                           {"GRADWIND_WORLD", std::to_string(world)},
                           {"GRADWIND_RENDEZVOUS", (folder_.path() / "store").string()}};
        if (!process_variables().count("OMP_NUM_THREADS"))
            child.variables["OMP_NUM_THREADS"] =
                std::to_string(std::max(1u, std::thread::hardware_concurrency() / static_cast<unsigned>(world)));
        Child entry;
        entry.rank = rank;
        int pipe_ends[2] = {-1, -1};
        int null_fd = -1;
        if (rank > 0) {
            GRADWIND_CHECK(::pipe2(pipe_ends, O_CLOEXEC) == 0, CommError, "[launch] no pipe for rank {}", rank);
            ::fcntl(pipe_ends[0], F_SETFL, O_NONBLOCK);
            null_fd = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
            child.stdout_fd = null_fd;
            child.stderr_fd = pipe_ends[1];
            entry.output = pipe_ends[0];
        }
        children_.push_back(entry);
        children_.back().pid = spawn_child(child);
        if (rank > 0) {
            ::close(null_fd);
            ::close(pipe_ends[1]);
        }
    }

    [[nodiscard]] int running() const
    {
        return static_cast<int>(
            std::count_if(children_.begin(), children_.end(), [](const Child& c) { return c.pid > 0; }));
    }

    void signal_all(int signal)
    {
        for (const Child& child : children_)
            if (child.pid > 0)
                ::kill(child.pid, signal);
    }

    void wait_for_event()
    {
        std::vector<pollfd> watched = {{signals_.fd(), POLLIN, 0}};
        for (const Child& child : children_)
            if (child.output >= 0)
                watched.push_back({child.output, POLLIN, 0});
        ::poll(watched.data(), watched.size(), kill_at_ ? 100 : -1);
    }

    void forward_output(Child& child)
    {
        char buffer[4096];
        for (ssize_t n = 0; child.output >= 0 && (n = ::read(child.output, buffer, sizeof buffer)) >= 0;) {
            if (n == 0) {
                ::close(child.output);
                child.output = -1;
                if (!child.line.empty())
                    write_all(STDERR_FILENO, fmt::format("[rank {}] {}\n", child.rank, child.line));
                child.line.clear();
                return;
            }
            child.line.append(buffer, static_cast<size_t>(n));
            for (size_t end; (end = child.line.find('\n')) != std::string::npos; child.line.erase(0, end + 1))
                write_all(STDERR_FILENO, fmt::format("[rank {}] {}\n", child.rank, child.line.substr(0, end)));
        }
    }

    void collect_ended()
    {
        for (Child& child : children_) {
            int status = 0;
            if (child.pid <= 0 || ::waitpid(child.pid, &status, WNOHANG) != child.pid)
                continue;
            child.pid = -1;
            const int code = exit_code_of(status);
            if (code == 0 || exit_code_ != 0) {
                // Others see a broken connection, at times before the rank that broke it has ended.
                if (exit_code_ == int(ExitCode::Communication) && is_cause(code))
                    exit_code_ = code;
                continue;
            }
            exit_code_ = code;
            // A broken connection is seldom the cause: the rank that broke it is about to say what is.
            term_at_ = Clock::now() + (code == int(ExitCode::Communication) ? kTimeForTheCause : Clock::duration(0));
            kill_at_ = *term_at_ + std::chrono::milliseconds(static_cast<int64_t>(options_.grace_seconds * 1000));
        }
    }

    /// An error of its own, and no answer to our signals.
    [[nodiscard]] static bool is_cause(int code)
    {
        return code == int(ExitCode::Config) || code == int(ExitCode::Data) || code == int(ExitCode::Checkpoint) ||
               code == int(ExitCode::Internal);
    }

    LocalLaunchOptions options_;
    PrivateFolder folder_;
    SignalEvents signals_;
    std::vector<Child> children_;
    static constexpr auto kTimeForTheCause = std::chrono::seconds(2);
    std::optional<Clock::time_point> term_at_, kill_at_;
    int exit_code_ = 0;
};

} // namespace

int launch_local(const std::vector<std::string>& command, const LocalLaunchOptions& options)
{
    GRADWIND_CHECK(options.processes >= 1, ConfigError, "[launch] --nproc must be at least 1, found {}",
                   options.processes);
    const Environment outside = resolve_environment(process_variables());
    GRADWIND_CHECK(outside.world == 1, ConfigError,
                   "[launch] --nproc {} inside a job of {} processes started by {}: leave --nproc out there",
                   options.processes, outside.world, name_of(outside.launcher));
    return LocalJob(command, options).run();
}

} // namespace gradwind::parallel
