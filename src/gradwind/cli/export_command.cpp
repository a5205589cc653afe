// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/cli/export_command.h"

#include "gradwind/cli/anemoi_bridge.h"
#include "gradwind/parallel/process.h"
#include "gradwind/train/exchange.h"

#include <ostream>

namespace gradwind::cli
{

int run(const ExportCommand& command, std::ostream& out)
{
    const parallel::PrivateFolder folder;
    const auto exchange = folder.path() / "exchange";
    train::export_exchange(command.checkpoint, command.overrides, exchange);
    out << run_bridge(command.python,
                      {"export", exchange.string(), std::filesystem::absolute(command.output).string()});
    return 0;
}

} // namespace gradwind::cli
