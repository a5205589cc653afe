// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/cli/config_command.h"

#include "gradwind/core/config_loader.h"
#include "gradwind/core/config_schema.h"
#include "gradwind/core/config_yaml.h"

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <ostream>

namespace gradwind::cli
{

namespace
{

void check(const ConfigCommand& command, std::ostream& out)
{
    const auto result = check_config(load_config({command.file, command.overrides}));
    if (command.format == ConfigCommand::Format::Json) {
        out << nlohmann::json{{"ok", true}, {"ignored", result.ignored}, {"notes", result.notes}}.dump(2) << "\n";
        return;
    }
    out << fmt::format("{}: every key is known and every value is in range\n", command.file.string());
    for (const auto& note : result.notes)
        out << "note: " << note << "\n";
    if (!result.ignored.empty())
        out << fmt::format("ignored, because these keys mean nothing here: {}\n", fmt::join(result.ignored, ", "));
}

void show(const ConfigCommand& command, std::ostream& out)
{
    const auto config = load_config({command.file, command.overrides});
    const auto origins = command.origins == ConfigCommand::Origins::Show ? Origins::Show : Origins::Hide;
    out << (command.format == ConfigCommand::Format::Json ? to_json_text(config, origins) : to_yaml(config, origins));
}

} // namespace

int run(const ConfigCommand& command, std::ostream& out)
{
    switch (command.action) {
    case ConfigCommand::Action::Check:
        check(command, out);
        break;
    case ConfigCommand::Action::Show:
        show(command, out);
        break;
    case ConfigCommand::Action::Keys:
        out << configuration_page();
        break;
    }
    return 0;
}

} // namespace gradwind::cli
