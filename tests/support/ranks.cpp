// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "tests/support/ranks.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/process.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

namespace gradwind::testing
{
namespace
{

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start)
{
    return std::chrono::duration<double>(Clock::now() - start).count();
}

std::string current_test()
{
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    return std::string(info->test_suite_name()) + "." + info->name();
}

std::string text_of(const std::filesystem::path& file)
{
    std::ostringstream text;
    text << std::ifstream(file).rdbuf();
    return text.str();
}

} // namespace

bool in_rank()
{
    return std::getenv("GRADWIND_TEST_TIMEOUT") != nullptr;
}

parallel::Group rank_world()
{
    const auto environment = parallel::resolve_environment(parallel::process_variables());
    const double timeout = std::atof(std::getenv("GRADWIND_TEST_TIMEOUT"));
    return parallel::connect_world(environment,
                                   {.timeout = std::chrono::milliseconds(static_cast<int64_t>(timeout * 1e3))});
}

std::vector<RankResult> run_ranks(int n, const RunOptions& options)
{
    const parallel::PrivateFolder folder;
    std::vector<pid_t> children;
    for (int rank = 0; rank < n; ++rank) {
        const auto log = folder.path() / ("rank" + std::to_string(rank));
        const int fd = ::open(log.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
        parallel::ChildOptions child;
        child.command = {std::filesystem::read_symlink("/proc/self/exe").string(), "--gtest_filter=" + current_test(),
                         "--gtest_color=no"};
        child.variables = {{"GRADWIND_RANK", std::to_string(rank)},
                           {"GRADWIND_WORLD", std::to_string(n)},
                           {"GRADWIND_RENDEZVOUS", (folder.path() / "store").string()},
                           {"GRADWIND_TEST_TIMEOUT", std::to_string(options.timeout_seconds)},
                           {"OMP_NUM_THREADS", "1"},
                           {"OPENBLAS_NUM_THREADS", "1"}};
        child.stdout_fd = child.stderr_fd = fd;
        children.push_back(parallel::spawn_child(child));
        ::close(fd);
    }
    std::vector<RankResult> results(n);
    const auto start = Clock::now();
    for (int left = n; left > 0; std::this_thread::sleep_for(std::chrono::milliseconds(5))) {
        const bool late = seconds_since(start) > options.watchdog_seconds;
        for (int rank = 0; rank < n; ++rank) {
            int status = 0;
            if (children[rank] > 0 && late)
                ::kill(children[rank], SIGKILL);
            if (children[rank] <= 0 || ::waitpid(children[rank], &status, WNOHANG) != children[rank])
                continue;
            results[rank].exit_code = parallel::exit_code_of(status);
            results[rank].seconds = seconds_since(start);
            children[rank] = -1;
            --left;
        }
    }
    for (int rank = 0; rank < n; ++rank)
        results[rank].output = text_of(folder.path() / ("rank" + std::to_string(rank)));
    return results;
}

void run_multirank(const RankCounts& counts, void (*body)(const parallel::Group& world))
{
    if (in_rank()) {
        const auto world = rank_world();
        body(world);
        if (!::testing::Test::HasFailure())
            world.barrier();
        return;
    }
    for (const int n : counts) {
        SCOPED_TRACE(std::to_string(n) + " ranks");
        if (n == 1) {
            body(parallel::Group::self("world"));
            continue;
        }
        const auto results = run_ranks(n);
        for (int rank = 0; rank < n; ++rank)
            EXPECT_EQ(results[rank].exit_code, 0) << "rank " << rank << " of " << n << " says:\n"
                                                  << results[rank].output;
    }
}

} // namespace gradwind::testing
