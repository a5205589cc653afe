// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/cli/verify_command.h"

#include "gradwind/core/error.h"
#include "gradwind/train/step_hooks.h"
#include "gradwind/verify/golden.h"
#include "gradwind/verify/layouts.h"
#include "gradwind/verify/layouts_worker.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <ostream>

namespace gradwind::cli
{

namespace
{

int run_layouts(const VerifyCommand& command, std::ostream& out)
{
    const bool is_text = command.format == VerifyCommand::Format::Text;
    verify::LayoutsRequest request{
        .config = command.config,
        .overrides = command.overrides,
        .n_processes = command.nproc,
        .steps = command.steps,
        .precision = command.precision,
        .only = command.layouts,
        .command = [](const std::filesystem::path& order) -> std::vector<std::string> {
            return {std::filesystem::read_symlink("/proc/self/exe").string(), "verify", "--worker", order.string()};
        },
        .progress = {}};
    if (is_text)
        request.progress = [&](const std::string& line) { out << "[verify] " << line << "\n" << std::flush; };
    const auto result = verify::verify_layouts(request);
    if (is_text)
        out << verify::format_layouts(result);
    else
        out << verify::to_json(result).dump(1) << "\n";
    return result.passed() ? 0 : 1;
}

int run_golden(const VerifyCommand& command, std::ostream& out)
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

} // namespace

int run(const VerifyCommand& command, std::ostream& out)
{
    if (!command.worker.empty()) {
        train::StepHooks nothing;
        return verify::run_layout_worker(command.worker, nothing);
    }
    GRADWIND_CHECK(command.config.empty() != command.golden.empty(), ConfigError,
                   "[verify] expected either a configuration, to compare layouts, or --golden DIR, found {}",
                   command.config.empty() ? "neither" : "both");
    return command.golden.empty() ? run_layouts(command, out) : run_golden(command, out);
}

} // namespace gradwind::cli
