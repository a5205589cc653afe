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
#include <cstring>
#include <set>
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
    int output = -1;  ///< read end of its stderr; -1 when closed
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

/// What the processes say on stderr, put together for one reader: what several say is written once, and a connection
/// that an error of another process broke is worth a line only where nobody says what the error was.
class ErrorLines
{
public:
    void add(int rank, const std::string& line)
    {
        if (line.starts_with(kBroken))
            broken_.push_back(marked(rank, line));
        else if (!line.starts_with(kMessage) || said_.insert(line).second)
            write_all(STDERR_FILENO, marked(rank, line));
    }
    /// A line of the launcher itself about a process.
    void about(int rank, const std::string& what)
    {
        write_all(STDERR_FILENO, fmt::format("[rank {}] {}\n", rank, what));
    }
    enum class Cause { Known, Unknown };
    /// To be called when all have ended.
    void close(Cause cause)
    {
        if (cause == Cause::Unknown)
            for (const auto& line : broken_)
                write_all(STDERR_FILENO, line);
        broken_.clear();
    }

private:
    static std::string marked(int rank, const std::string& line)
    {
        return rank == 0 ? line + "\n" : fmt::format("[rank {}] {}\n", rank, line);
    }
    static constexpr const char* kMessage = "gradwind: ";
    static constexpr const char* kBroken = "gradwind: [comm] ";

    std::set<std::string> said_;
    std::vector<std::string> broken_;
};

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
                kill_all();
        }
        for (Child& child : children_)
            forward_output(child);
        lines_.close(is_cause(exit_code_) ? ErrorLines::Cause::Known : ErrorLines::Cause::Unknown);
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
        GRADWIND_CHECK(::pipe2(pipe_ends, O_CLOEXEC) == 0, CommError, "[launch] no pipe for rank {}", rank);
        ::fcntl(pipe_ends[0], F_SETFL, O_NONBLOCK);
        child.stderr_fd = pipe_ends[1];
        entry.output = pipe_ends[0];
        if (rank > 0)
            child.stdout_fd = null_fd = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
        children_.push_back(entry);
        children_.back().pid = spawn_child(child);
        ::close(pipe_ends[1]);
        if (null_fd >= 0)
            ::close(null_fd);
    }

    [[nodiscard]] int running() const
    {
        return static_cast<int>(
            std::count_if(children_.begin(), children_.end(), [](const Child& c) { return c.pid > 0; }));
    }

    void signal_all(int signal)
    {
        has_signalled_ = true;
        for (const Child& child : children_)
            if (child.pid > 0)
                ::kill(child.pid, signal);
    }

    /// Ends those that did not leave in time; a stopped process hears no other signal.
    void kill_all()
    {
        for (const Child& child : children_)
            if (child.pid > 0 && !was_killed_)
                lines_.about(child.rank, fmt::format("did not end within {:g} s of the failure and is killed",
                                                     options_.grace_seconds));
        was_killed_ = true;
        signal_all(SIGKILL);
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
                    lines_.add(child.rank, child.line);
                child.line.clear();
                return;
            }
            child.line.append(buffer, static_cast<size_t>(n));
            for (size_t end; (end = child.line.find('\n')) != std::string::npos; child.line.erase(0, end + 1))
                lines_.add(child.rank, child.line.substr(0, end));
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
            if (WIFSIGNALED(status) && !has_signalled_)
                lines_.about(child.rank, fmt::format("was ended by signal {} ({})", WTERMSIG(status),
                                                     ::strsignal(WTERMSIG(status))));
            if (code == 0 || exit_code_ != 0) {
                // Others see a broken connection, at times before the rank that broke it has ended.
                if (exit_code_ == int(ExitCode::Communication) && is_cause(code))
                    exit_code_ = code;
                continue;
            }
            exit_code_ = code;
            // A broken connection is seldom the cause: the rank that broke it is about to say what is.
            const auto now = Clock::now();
            const std::chrono::milliseconds grace(static_cast<int64_t>(options_.grace_seconds * 1000));
            // Of a process that a signal ended only the others can say where they missed it.
            const bool are_others_to_speak = code == int(ExitCode::Communication) || WIFSIGNALED(status);
            term_at_ =
                now + (are_others_to_speak ? std::min<Clock::duration>(kTimeForTheCause, grace) : Clock::duration(0));
            kill_at_ = now + grace;
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
    ErrorLines lines_;
    std::vector<Child> children_;
    static constexpr auto kTimeForTheCause = std::chrono::seconds(2);
    std::optional<Clock::time_point> term_at_, kill_at_;
    int exit_code_ = 0;
    bool has_signalled_ = false, was_killed_ = false;
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
