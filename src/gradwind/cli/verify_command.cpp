// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/cli/verify_command.h"

#include "gradwind/verify/golden.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <ostream>

namespace gradwind::cli
{

int run(const VerifyCommand& command, std::ostream& out)
{
    std::vector<verify::CaseReport> reports;
    for (const auto& folder : verify::find_cases(command.golden))
        reports.push_back(verify::run_case(folder));
    if (command.format == VerifyCommand::Format::Json)
        out << verify::to_json(reports).dump(1) << "\n";
    else
        out << verify::format_table(reports);
    return std::all_of(reports.begin(), reports.end(), [](const auto& report) { return report.passed(); }) ? 0 : 1;
}

} // namespace gradwind::cli
