// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/launch.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/process.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <thread>

namespace gradwind::parallel
{
namespace
{

using Clock = std::chrono::steady_clock;

const Variables kTorchrun = {{"RANK", "5"},        {"WORLD_SIZE", "8"},
                             {"LOCAL_RANK", "1"},  {"LOCAL_WORLD_SIZE", "4"},
                             {"MASTER_ADDR", "a"}, {"MASTER_PORT", "29500"}};
const Variables kSlurm = {{"SLURM_PROCID", "5"},
                          {"SLURM_NTASKS", "8"},
                          {"SLURM_LOCALID", "1"},
                          {"SLURM_STEP_ID", "0"},
                          {"SLURM_JOB_ID", "77"},
                          {"SLURM_NODEID", "1"},
                          {"SLURM_JOB_NODELIST", "gpu[07-08]"},
                          {"SLURM_STEP_TASKS_PER_NODE", "4(x2)"}};
const Variables kOpenMpi = {{"OMPI_COMM_WORLD_RANK", "3"},
                            {"OMPI_COMM_WORLD_SIZE", "4"},
                            {"OMPI_COMM_WORLD_LOCAL_RANK", "3"},
                            {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"}};

Variables joined(Variables a, const Variables& b)
{
    a.insert(b.begin(), b.end());
    return a;
}

Variables without(Variables a, const std::string& name)
{
    a.erase(name);
    return a;
}

TEST(Launch, NobodyMeansOneProcess)
{
    const Environment found = resolve_environment({});
    EXPECT_EQ(found.launcher, Launcher::None);
    EXPECT_EQ(found.world, 1);
    EXPECT_EQ(found.description, "[launch] rank 0 of 1, started by no launcher");
}

TEST(Launch, EveryLauncherIsUnderstood)
{
    const Environment torchrun = resolve_environment(kTorchrun);
    EXPECT_EQ(torchrun.launcher, Launcher::Torchrun);
    EXPECT_EQ(torchrun.rank, 5);
    EXPECT_EQ(torchrun.world, 8);
    EXPECT_EQ(torchrun.local_rank, 1);
    EXPECT_EQ(torchrun.local_world, 4);
    EXPECT_EQ(torchrun.rendezvous.host, "a");
    EXPECT_EQ(torchrun.rendezvous.port, 29500);
    EXPECT_FALSE(torchrun.rendezvous.served);
    EXPECT_TRUE(resolve_environment(joined(kTorchrun, {{"TORCHELASTIC_USE_AGENT_STORE", "True"}})).rendezvous.served);

    const Environment slurm = resolve_environment(kSlurm);
    EXPECT_EQ(slurm.launcher, Launcher::Slurm);
    EXPECT_EQ(slurm.rank, 5);
    EXPECT_EQ(slurm.local_world, 4);
    EXPECT_EQ(slurm.rendezvous.host, "gpu07");
    EXPECT_GE(slurm.rendezvous.port, 20000);
    EXPECT_EQ(slurm.rendezvous.port, resolve_environment(kSlurm).rendezvous.port);

    const Environment mpi = resolve_environment(kOpenMpi);
    EXPECT_EQ(mpi.launcher, Launcher::OpenMpi);
    EXPECT_EQ(mpi.rank, 3);
    EXPECT_EQ(mpi.rendezvous.host, "127.0.0.1");

    const Environment pmi = resolve_environment({{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}, {"MPI_LOCALRANKID", "1"}});
    EXPECT_EQ(pmi.launcher, Launcher::Pmi);
    EXPECT_EQ(pmi.rank, 1);

    const Environment local =
        resolve_environment({{"GRADWIND_RANK", "1"}, {"GRADWIND_WORLD", "2"}, {"GRADWIND_RENDEZVOUS", "/x/store"}});
    EXPECT_EQ(local.launcher, Launcher::Local);
    EXPECT_EQ(local.rendezvous.file, "/x/store");
}

TEST(Launch, TheInnermostLauncherWinsAndSaysSo)
{
    auto outer = kSlurm; // one torchrun per node
    outer["SLURM_PROCID"] = "1";
    outer["SLURM_NTASKS"] = "2";
    outer["SLURM_LOCALID"] = "0";
    outer["SLURM_STEP_TASKS_PER_NODE"] = "1(x2)";
    const Environment found = resolve_environment(joined(kTorchrun, outer));
    EXPECT_EQ(found.launcher, Launcher::Torchrun);
    EXPECT_EQ(found.description, "[launch] rank 5 of 8, started by torchrun, inside srun (2 processes)");
}

TEST(Launch, SlurmBatchScriptIsOneProcess)
{
    EXPECT_EQ(resolve_environment(without(kSlurm, "SLURM_STEP_ID")).world, 1);
    EXPECT_EQ(resolve_environment(joined(kSlurm, {{"SLURM_STEP_NUM_TASKS", "8"}})).world, 8);
}

TEST(Launch, ContradictionsAreConfigErrors)
{
    const auto message = [](const Variables& variables) -> std::string {
        try {
            return "no error: " + resolve_environment(variables).description;
        } catch (const ConfigError& error) {
            return error.what();
        }
    };
    EXPECT_EQ(message(without(kTorchrun, "WORLD_SIZE")),
              "[launch] RANK is set but WORLD_SIZE is not: set both (as torchrun does) or neither");
    EXPECT_EQ(
        message(without(kTorchrun, "MASTER_PORT")),
        "[launch] RANK and WORLD_SIZE are set but MASTER_ADDR or MASTER_PORT is not: torchrun sets all four; set them, "
        "or unset RANK and WORLD_SIZE");
    EXPECT_EQ(message(joined({{"RANK", "8"}}, kTorchrun)), "[launch] RANK = 8 should be less than WORLD_SIZE = 8");
    EXPECT_EQ(message(joined({{"RANK", "two"}}, kTorchrun)),
              "[launch] RANK should be a number that is not negative, found `two`");
    EXPECT_EQ(message(joined({{"LOCAL_RANK", "4"}}, kTorchrun)),
              "[launch] torchrun says local rank 4 of 4 in a world of 8: these contradict each other");
    EXPECT_EQ(
        message(joined({{"RANK", "0"}, {"WORLD_SIZE", "1"}, {"LOCAL_WORLD_SIZE", "1"}, {"LOCAL_RANK", "0"}},
                       joined(kTorchrun, kSlurm))),
        "[launch] torchrun says that the job has 1 processes, srun around it started 8: each would train alone. Start "
        "srun with one task per node, or leave one of the two out");
    EXPECT_EQ(message(joined({{"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}, {"OMPI_COMM_WORLD_LOCAL_RANK", "1"}}, kOpenMpi)),
              "[launch] mpirun (Open MPI) started 4 processes on several nodes but does not say where rank 0 runs: set "
              "MASTER_ADDR to that host (mpirun -x MASTER_ADDR=...)");
}

TEST(Launch, FirstHostOfANodeList)
{
    EXPECT_EQ(first_host("login1"), "login1");
    EXPECT_EQ(first_host("a1,b[2-3]"), "a1");
    EXPECT_EQ(first_host("gpu[007-009,12],b1"), "gpu007");
    EXPECT_EQ(first_host("n[3,5]-ib,b1"), "n3-ib");
    EXPECT_THROW((void)first_host("gpu[7"), ConfigError);
}

int launch_shell(const std::string& script, int processes, double grace_seconds = 10)
{
    return launch_local({"/bin/sh", "-c", script}, {.processes = processes, .grace_seconds = grace_seconds});
}

TEST(LocalLaunch, RankZeroPassesThroughAndOthersAreMarked)
{
    ::testing::internal::CaptureStdout();
    ::testing::internal::CaptureStderr();
    const int code = launch_shell("echo out $GRADWIND_RANK of $GRADWIND_WORLD; echo err $GRADWIND_RANK >&2; "
                                  "printf unfinished >&2; test -n \"$OMP_NUM_THREADS\"",
                                  3);
    const std::string out = ::testing::internal::GetCapturedStdout();
    const std::string err = ::testing::internal::GetCapturedStderr();
    EXPECT_EQ(code, 0);
    EXPECT_EQ(out, "out 0 of 3\n");
    for (const char* line : {"err 0\n", "[rank 1] err 1\n", "[rank 2] err 2\n", "[rank 1] unfinished\n"})
        EXPECT_NE(err.find(line), std::string::npos) << err;
}

/// What a job of three writes to stderr.
std::string errors_of(const std::string& script, int exit_code)
{
    ::testing::internal::CaptureStderr();
    const int code = launch_shell(script, 3);
    const std::string err = ::testing::internal::GetCapturedStderr();
    EXPECT_EQ(code, exit_code) << err;
    return err;
}

TEST(LocalLaunch, OneErrorIsOneMessage)
{
    EXPECT_EQ(errors_of("echo 'gradwind: [config] no such key' >&2; exit 2", 2).find("no such key"),
              errors_of("echo 'gradwind: [config] no such key' >&2; exit 2", 2).rfind("no such key"));
    // One meets an error of its own, the others a connection that it broke, at times earlier than it can say so.
    EXPECT_EQ(errors_of("if test $GRADWIND_RANK = 1; then sleep 0.3; echo 'gradwind: [data] damaged' >&2; exit 3; "
                        "else echo 'gradwind: [comm] rank '$GRADWIND_RANK': broken' >&2; exit 4; fi",
                        3),
              "[rank 1] gradwind: [data] damaged\n");
    // Where nobody can say what it was, all say what they saw, and the launcher what became of the process.
    const auto err = errors_of("test $GRADWIND_RANK = 1 && kill -9 $$; sleep 0.2; "
                               "echo 'gradwind: [comm] rank '$GRADWIND_RANK': broken' >&2; exit 4",
                               128 + SIGKILL);
    for (const char* line : {"[rank 1] was ended by signal 9", "gradwind: [comm] rank 0: broken\n",
                             "[rank 2] gradwind: [comm] rank 2: broken\n"})
        EXPECT_NE(err.find(line), std::string::npos) << err;
}

TEST(LocalLaunch, FirstFailureEndsTheOthersAndIsReturned)
{
    const auto start = Clock::now();
    EXPECT_EQ(launch_shell("test $GRADWIND_RANK = 1 && exit 3; exec sleep 30", 3), 3);
    EXPECT_LT(Clock::now() - start, std::chrono::seconds(5));
    EXPECT_EQ(launch_shell("test $GRADWIND_RANK = 0 && kill -9 $$; exec sleep 30", 2), 128 + SIGKILL);
}

TEST(LocalLaunch, WhoIgnoresTermIsKilledAfterTheGrace)
{
    const auto start = Clock::now();
    EXPECT_EQ(
        launch_shell("trap '' TERM; test $GRADWIND_RANK = 1 && { sleep 0.3; exit 7; }; while :; do sleep 0.1; done", 2,
                     0.5),
        7);
    EXPECT_LT(Clock::now() - start, std::chrono::seconds(6));
}

TEST(LocalLaunch, TermIsForwarded)
{
    ChildOptions sender;
    sender.command = {"/bin/sh", "-c", "sleep 0.5; kill -TERM $PPID"};
    const pid_t pid = spawn_child(sender);
    const int code = launch_shell("trap 'exit 6' TERM; while :; do sleep 0.05; done", 2);
    ::waitpid(pid, nullptr, 0);
    EXPECT_EQ(code, 6);
}

TEST(LocalLaunch, RefusesWhatCannotWork)
{
    EXPECT_THROW((void)launch_shell("true", 0), ConfigError);
    EXPECT_THROW((void)launch_local({"/nonexistent/program"}, {.processes = 2}), CommError);
    ::setenv("GRADWIND_RANK", "0", 1);
    ::setenv("GRADWIND_WORLD", "2", 1);
    ::setenv("GRADWIND_RENDEZVOUS", "/x", 1);
    EXPECT_THROW((void)launch_shell("true", 2), ConfigError);
    for (const char* name : {"GRADWIND_RANK", "GRADWIND_WORLD", "GRADWIND_RENDEZVOUS"})
        ::unsetenv(name);
}

TEST(LocalLaunch, NoProcessOutlivesAKilledLauncher)
{
    if (const char* folder = std::getenv("GRADWIND_TEST_ORPHANS")) {
        (void)launch_shell(std::string("echo $$ > ") + folder + "/$GRADWIND_RANK.new; mv " + folder +
                               "/$GRADWIND_RANK.new " + folder + "/$GRADWIND_RANK; exec sleep 60",
                           2);
        return;
    }
    const PrivateFolder folder;
    ChildOptions launcher;
    launcher.command = {std::filesystem::read_symlink("/proc/self/exe").string(),
                        "--gtest_filter=LocalLaunch.NoProcessOutlivesAKilledLauncher"};
    launcher.variables = {{"GRADWIND_TEST_ORPHANS", folder.path().string()}, {"TMPDIR", folder.path().string()}};
    const pid_t pid = spawn_child(launcher);
    const auto until = [](const auto& condition) {
        for (int i = 0; i < 1000 && !condition(); ++i)
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        return condition();
    };
    ASSERT_TRUE(until(
        [&] { return std::filesystem::exists(folder.path() / "0") && std::filesystem::exists(folder.path() / "1"); }));
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    for (const char* rank : {"0", "1"}) {
        pid_t orphan = 0;
        std::ifstream(folder.path() / rank) >> orphan;
        ASSERT_GT(orphan, 0);
        // A zombie is as good as gone: whoever adopted it has yet to collect it.
        EXPECT_TRUE(until([&] {
            std::ifstream stat("/proc/" + std::to_string(orphan) + "/stat");
            std::string id, name, state;
            return !(stat >> id >> name >> state) || state == "Z" || state == "X";
        })) << orphan;
    }
}

} // namespace
} // namespace gradwind::parallel
