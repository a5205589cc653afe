// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The command line as plain structs.
#pragma once
#include "gradwind/cli/config_command.h"
#include "gradwind/cli/dataset_create_command.h"
#include "gradwind/cli/dataset_inspect_command.h"
#include "gradwind/cli/export_command.h"
#include "gradwind/cli/forecast_command.h"
#include "gradwind/cli/graph_command.h"
#include "gradwind/cli/import_command.h"
#include "gradwind/cli/plan_command.h"
#include "gradwind/cli/train_command.h"
#include "gradwind/cli/tune_command.h"
#include "gradwind/cli/verify_command.h"

#include <string>
#include <variant>

namespace gradwind::cli
{

/// What to print for --help and --version.
struct ShowText {
    std::string text;
};

using Command = std::variant<ShowText, ConfigCommand, DatasetCreate, DatasetInspect, ExportCommand, ForecastCommand,
                             GraphCommand, ImportCommand, PlanCommand, TrainCommand, TuneCommand, VerifyCommand>;

/// @throws ConfigError with a hint at the command's --help, for words that are no command or option
[[nodiscard]] Command parse(int argc, const char* const* argv);

} // namespace gradwind::cli
