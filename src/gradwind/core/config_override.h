// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// `key=value` on the command line.
#pragma once
#include "gradwind/core/config_compose.h"
#include "gradwind/core/config_draft.h"

#include <string>
#include <vector>

namespace gradwind
{

/// One change of a value.
struct ValueOverride {
    enum class Mode { Set, Add, Remove } mode = Mode::Set;
    ConfigPath path;
    ConfigDraft value;
    std::string written; ///< for messages: "command line: key=value"
};

struct Overrides {
    std::vector<GroupChoice> choices;
    std::vector<ValueOverride> values;
};

/// `key=value` sets, `+key=value` adds what is not there yet, `++key=value` sets or adds, `~key` removes; `group=name`
/// changes the choice of a group. Values are YAML.
/// @throws ConfigError naming the override
[[nodiscard]] Overrides parse_overrides(const std::vector<std::string>& overrides, const GroupSearch& search);

/// Applies one change. References on the way to the value are replaced by a copy of what they stand for.
/// @throws ConfigError naming the override
void apply_override(ConfigDraft& root, const ValueOverride& change, const Dereference& dereference);

} // namespace gradwind
