// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The communication of a run as a table.
#pragma once
#include "gradwind/train/comm_account.h"

#include <string>
#include <vector>

namespace gradwind::cli
{

/// "1.5 MB" (powers of 1000).
[[nodiscard]] std::string bytes_text(double bytes);

/// Lines of a table of one rank's collectives: means per step, then what was sent outside of steps; nothing for a run
/// of one process.
[[nodiscard]] std::vector<std::string> comm_table(const train::CommTotals& totals);

} // namespace gradwind::cli
