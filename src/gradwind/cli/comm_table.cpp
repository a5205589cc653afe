// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/cli/comm_table.h"

#include <fmt/format.h>

#include <algorithm>

namespace gradwind::cli
{

std::string bytes_text(double bytes)
{
    const char* const units[] = {"B", "kB", "MB", "GB", "TB"};
    size_t unit = 0;
    for (; bytes >= 999.95 && unit + 1 < std::size(units); bytes /= 1000)
        ++unit;
    return unit == 0 ? fmt::format("{:.0f} B", bytes) : fmt::format("{:.1f} {}", bytes, units[unit]);
}

std::vector<std::string> comm_table(const train::CommTotals& totals)
{
    std::vector<std::string> lines;
    if (totals.rows.empty())
        return lines;
    lines.push_back(fmt::format("communication of rank 0 in {} steps, and besides them (setup, log, validation, "
                                "checkpoints):",
                                totals.steps));
    lines.push_back(fmt::format("  {:<12} {:<15} {:>11} {:>12} {:>11} {:>10} {:>12} {:>13} {:>12}", "group",
                                "collective", "calls/step", "bytes/step", "exposed ms", "calls", "bytes",
                                "calls besides", "bytes"));
    const auto n = double(std::max<int64_t>(1, totals.steps));
    for (const auto& row : totals.rows)
        lines.push_back(fmt::format(
            "  {:<12} {:<15} {:>11.4g} {:>12} {:>11} {:>10} {:>12} {:>13} {:>12}", row.group,
            parallel::name_of(row.verb), double(row.step_calls) / n, bytes_text(double(row.step_bytes) / n),
            row.step_exposed_s > 0 ? fmt::format("{:.2f}", 1e3 * row.step_exposed_s / n) : "-", row.step_calls,
            bytes_text(double(row.step_bytes)), row.other_calls, bytes_text(double(row.other_bytes))));
    return lines;
}

} // namespace gradwind::cli
