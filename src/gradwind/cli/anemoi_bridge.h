// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Runs the Python script that opens and makes Anemoi's pickles. It travels inside the executable.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace gradwind::cli
{

/// tools/anemoi_bridge.py.
[[nodiscard]] std::string_view bridge_script();

/// Runs the script; what it says on stdout is returned.
/// @param python  the user's choice; empty: GRADWIND_PYTHON, else python3
/// @throws DataError with what the script said on stderr, or if there is no such Python
std::string run_bridge(const std::string& python, const std::vector<std::string>& arguments);

} // namespace gradwind::cli
