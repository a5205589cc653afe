// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// From a YAML file to a resolved configuration.
#pragma once
#include "gradwind/core/config.h"

#include <filesystem>
#include <string>
#include <vector>

namespace gradwind
{

struct ConfigRequest {
    std::filesystem::path file;
    std::vector<std::string> overrides; ///< `key=value` and the like, in the order given
};

/// Composes a configuration as Hydra does: `defaults` lists (groups beside the file first, then the packaged ones),
/// overrides, references, older spellings, then the defaults of the schema for keys that are absent.
///
/// Every value keeps where it was written. Unknown keys are left in: check_config (config_schema.h) reports them.
/// @throws ConfigError naming file and line
[[nodiscard]] Config load_config(const ConfigRequest& request);

} // namespace gradwind
