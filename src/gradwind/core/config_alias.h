// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Older spellings of keys (spec §15.2) and what they are called now.
#pragma once
#include "gradwind/core/config_draft.h"

#include <span>
#include <string>
#include <vector>

namespace gradwind
{

/// One older spelling; `*` stands for one key of any name and is carried over.
struct KeyAlias {
    const char* older;
    const char* present;
    bool only_with_target; ///< applies only to a mapping that has `_target_` itself
};

[[nodiscard]] std::span<const KeyAlias> key_aliases();

/// The present spelling of a path, itself if it is no older one.
[[nodiscard]] ConfigPath present_path(ConfigPath path);

/// Moves everything under older spellings to its present place and appends a note for each.
void translate_older_keys(ConfigDraft& root, std::vector<std::string>& notes);

} // namespace gradwind
