// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/cli/dataset_inspect_command.h"

#include "gradwind/core/config_yaml.h"
#include "gradwind/core/error.h"
#include "gradwind/data/open_dataset.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <ostream>

namespace gradwind::cli
{

namespace
{

Config options_of(const DatasetInspect& command)
{
    ConfigDraft root;
    const std::filesystem::path path(command.store);
    auto& dataset = root.make_child("dataset", {"command line", 0});
    if (path.extension() == ".yaml" || path.extension() == ".yml")
        dataset = parse_yaml_file(path); // options, as they stand in a configuration
    else
        dataset.set_string(command.store);
    for (const auto& option : command.options) {
        const auto equals = option.find('=');
        GRADWIND_CHECK(equals != std::string::npos && equals > 0, ConfigError,
                       "[dataset] the option `{}` must be written as key=value", option);
        const auto value = parse_yaml(option.substr(equals + 1), "command line");
        root.make_child(option.substr(0, equals), {"command line", 0}) = value;
    }
    return Config(freeze(root));
}

} // namespace

int run(const DatasetInspect& command, std::ostream& out)
{
    const auto dataset = data::open_dataset(options_of(command));
    const auto description = data::describe(*dataset, command.checksum);
    if (command.format == DatasetInspect::Format::Json)
        out << description.dump(1) << '\n';
    else
        data::print_description(description, out);
    return 0;
}

} // namespace gradwind::cli
