// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// `gradwind dataset inspect STORE [key=value ...]`
#pragma once
#include "gradwind/data/inspect.h"

#include <iosfwd>
#include <string>
#include <vector>

namespace gradwind::cli
{

struct DatasetInspect {
    enum class Format { Text, Json };
    using Checksum = data::Checksum;
    std::string store;                ///< a path, or a YAML file that holds options of open_dataset
    std::vector<std::string> options; ///< key=value, the options of open_dataset; values are YAML
    Format format = Format::Text;
    Checksum checksum = Checksum::Skip;
};

/// Prints what a user wants to know of a data set before a run. @return exit status 0 @throws ConfigError, DataError
int run(const DatasetInspect& command, std::ostream& out);

} // namespace gradwind::cli
