// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/cli/import_command.h"

#include "gradwind/cli/anemoi_bridge.h"
#include "gradwind/core/error.h"
#include "gradwind/parallel/process.h"
#include "gradwind/train/exchange.h"

#include <ostream>

namespace gradwind::cli
{

namespace fs = std::filesystem;

int run(const ImportCommand& command, std::ostream& out)
{
    GRADWIND_CHECK(!command.anemoi.empty() || !command.graph.empty(), ConfigError,
                   "[import] expected --anemoi CHECKPOINT, or --graph GRAPH for a graph alone, found neither");
    if (command.anemoi.empty()) {
        out << run_bridge(command.python,
                          {"graph", fs::absolute(command.graph).string(), fs::absolute(command.output).string()});
        return 0;
    }
    GRADWIND_CHECK(fs::is_regular_file(command.anemoi), DataError, "[import] there is no file {}",
                   command.anemoi.string());
    const parallel::PrivateFolder folder;
    const auto exchange = folder.path() / "exchange";
    std::vector<std::string> arguments = {"import", fs::absolute(command.anemoi).string(), exchange.string()};
    if (!command.graph.empty())
        arguments.insert(arguments.end(), {"--graph", fs::absolute(command.graph).string()});
    if (!command.matrices.empty())
        arguments.insert(arguments.end(), {"--matrices", fs::absolute(command.matrices).string()});
    out << run_bridge(command.python, arguments);
    const auto imported = train::import_exchange(exchange, command.output);
    for (const auto& note : imported.notes)
        out << "note: " << note << "\n";
    out << fmt::format("checkpoint  {} ({} values, step {})\n", imported.checkpoint.string(), imported.n_parameters,
                       imported.step);
    out << fmt::format("forecast    gradwind forecast {}\n", command.output.string());
    out << fmt::format("fine-tune   gradwind train CONFIG system.input.warm_start={} training.load_weights_only=true\n",
                       command.output.string());
    if (imported.is_resumable)
        out << fmt::format("go on       gradwind train --resume {0}, or as a new run: gradwind train CONFIG "
                           "training.fork_run_id={0}\n",
                           command.output.string());
    return 0;
}

} // namespace gradwind::cli
