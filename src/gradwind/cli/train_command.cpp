// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/cli/train_command.h"

#include "gradwind/cli/comm_table.h"
#include "gradwind/cli/progress_printer.h"
#include "gradwind/core/config_loader.h"
#include "gradwind/core/config_schema.h"
#include "gradwind/core/error.h"
#include "gradwind/parallel/launch.h"
#include "gradwind/train/run_config.h"
#include "gradwind/train/trainer.h"

#include <chrono>
#include <ctime>
#include <ostream>

namespace gradwind::cli
{

namespace fs = std::filesystem;

namespace
{

std::string time_stamp()
{
    const std::time_t now = std::time(nullptr);
    std::tm parts{};
    ::gmtime_r(&now, &parts);
    char text[32];
    std::strftime(text, sizeof text, "%Y%m%d-%H%M%S", &parts);
    return text;
}

/// Starts the command again in every process, with what must be equal in all of them already decided.
int launch(const TrainCommand& command, const fs::path& run_dir)
{
    std::vector<std::string> arguments = {fs::read_symlink("/proc/self/exe").string(), "train"};
    if (!command.config.empty())
        arguments.push_back(command.config.string());
    arguments.insert(arguments.end(), command.overrides.begin(), command.overrides.end());
    if (!command.resume.empty())
        arguments.insert(arguments.end(), {"--resume", command.resume.string()});
    else
        arguments.insert(arguments.end(), {"--run", run_dir.string()});
    if (command.record == TrainCommand::Record::Yes)
        arguments.emplace_back("--record");
    return parallel::launch_local(arguments, {.processes = command.nproc});
}

} // namespace

int run(const TrainCommand& command, std::ostream& out)
{
    const bool is_resumed = !command.resume.empty();
    GRADWIND_CHECK(is_resumed || !command.config.empty(), ConfigError,
                   "[train] expected a configuration file or --resume DIR, found neither");
    auto run_dir = is_resumed ? train::run_folder_of(command.resume) : command.run_dir;
    const auto config = is_resumed ? train::load_run_config(run_dir, command.overrides)
                                   : load_config({.file = command.config, .overrides = command.overrides});
    const auto checked = check_config(config);
    if (run_dir.empty())
        run_dir = fs::path(config.get<std::string>("system.output.root", "runs")) /
                  fmt::format("{}-{}", command.config.stem().string(), time_stamp());
    if (command.nproc > 1)
        return launch(command, run_dir);

    const auto environment = parallel::resolve_environment(parallel::process_variables());
    ProgressPrinter printer(out);
    if (environment.rank == 0) {
        printer.note(environment.description);
        printer.note("run folder " + run_dir.string());
        for (const auto& note : checked.notes)
            printer.note(note);
        if (!checked.ignored.empty())
            printer.note(
                fmt::format("{} keys have no effect here, `gradwind config check` lists them", checked.ignored.size()));
    }
    const auto result = train::run_training(
        config, environment,
        {.run_dir = run_dir,
         .resume = is_resumed ? std::optional(command.resume) : std::nullopt,
         .reference = std::nullopt,
         .record = command.record == TrainCommand::Record::Yes ? train::Record::Yes : train::Record::No},
        printer);
    printer.finish();
    if (environment.rank == 0)
        for (const auto& line : comm_table(result.communication))
            printer.note(line);
    const bool interrupted = result.end == train::TrainEnd::Interrupted;
    if (environment.rank == 0)
        printer.note(fmt::format("{} at step {} after {:.1f} s; checkpoint {}{}",
                                 interrupted ? "interrupted" : "finished", result.step, result.wall_s,
                                 result.checkpoint.string(),
                                 interrupted ? "; go on with `gradwind train --resume " + run_dir.string() + "`" : ""));
    return int(interrupted ? ExitCode::Interrupted : ExitCode::Ok);
}

} // namespace gradwind::cli
