// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The packaged configuration groups (groups/*.yaml), compiled into the library.
#pragma once
#include <span>
#include <string_view>

namespace gradwind
{

struct PackagedGroup {
    std::string_view name; ///< "model/gnn"
    std::string_view text; ///< YAML
};

/// All packaged groups, sorted by name.
[[nodiscard]] std::span<const PackagedGroup> packaged_groups();

} // namespace gradwind
