// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Runs the Python script that opens and makes Anemoi's pickles. It travels inside the executable.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gradwind::cli
{

/// A file of tools/ that travels along.
struct BridgeScript {
    std::string_view name, text;
};

/// tools/anemoi_bridge.py and what it imports.
[[nodiscard]] std::span<const BridgeScript> bridge_scripts();

/// Runs the script; what it says on stdout is returned.
/// @param python  the user's choice; empty: GRADWIND_PYTHON, else python3
/// @throws DataError with what the script said on stderr, or if there is no such Python
std::string run_bridge(const std::string& python, const std::vector<std::string>& arguments);

} // namespace gradwind::cli
