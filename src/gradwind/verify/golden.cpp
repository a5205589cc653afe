// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/verify/golden.h"

#include "gradwind/core/error.h"
#include "gradwind/verify/golden_datasets.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

namespace gradwind::verify
{

namespace
{

struct Runner {
    const char* kind;
    CaseReport (*run)(const std::filesystem::path&, const nlohmann::json&);
};

constexpr std::array kRunners = {
    Runner{"model", verify_model_case},
    Runner{"rollout", verify_model_case},
    Runner{"ensemble", verify_model_case},
    Runner{"init", verify_init_case},
    Runner{"datasets", verify_datasets_case},
    Runner{"losses", verify_losses_case},
    Runner{"normalizer", verify_normalizer_case},
    Runner{"optim", verify_optim_case},
    Runner{"sampler", verify_sampler_case},
    Runner{"graph", verify_graph_case},
    Runner{"run", verify_run_case},
    Runner{"distributed", verify_distributed_case},
};

nlohmann::json read_description(const std::filesystem::path& folder)
{
    std::ifstream in(folder / "case.json");
    GRADWIND_CHECK(in.good(), DataError, "[verify] {} has no case.json", folder.string());
    auto description = nlohmann::json::parse(in, nullptr, false);
    GRADWIND_CHECK(description.is_object() && description.contains("kind") && description["kind"].is_string(),
                   DataError, "[verify] {}/case.json is not a JSON object with a `kind`", folder.string());
    return description;
}

CaseReport run_kind(const std::filesystem::path& folder)
{
    const auto description = read_description(folder);
    const auto kind = description["kind"].get<std::string>();
    for (const auto& runner : kRunners) {
        if (kind == runner.kind) {
            auto report = runner.run(folder, description);
            report.kind = kind;
            return report;
        }
    }
    CaseReport report;
    report.kind = kind;
    report.not_run.push_back(fmt::format("cases of kind `{}` cannot be run yet", kind));
    return report;
}

const char* verdict(const CaseReport& report)
{
    if (report.passed())
        return "ok";
    const bool failed =
        std::any_of(report.checks.begin(), report.checks.end(), [](const Check& check) { return !check.passed(); });
    return failed || (report.checks.empty() && report.not_run.empty()) ? "FAILED" : "not run";
}

} // namespace

std::vector<std::filesystem::path> find_cases(const std::filesystem::path& folder)
{
    namespace fs = std::filesystem;
    std::error_code error;
    if (fs::exists(folder / "case.json", error))
        return {folder};
    std::vector<fs::path> cases;
    for (const auto& entry : fs::directory_iterator(folder, error))
        if (fs::exists(entry.path() / "case.json"))
            cases.push_back(entry.path());
    GRADWIND_CHECK(!error, DataError, "[verify] cannot read folder {}: {}", folder.string(), error.message());
    GRADWIND_CHECK(!cases.empty(), DataError, "[verify] no case.json in {} or in a folder below it", folder.string());
    std::sort(cases.begin(), cases.end());
    return cases;
}

CaseReport run_case(const std::filesystem::path& folder)
{
    CaseReport report;
    try {
        report = run_kind(folder);
    } catch (const std::exception& error) {
        report.check(fmt::format("stopped: {}", error.what()), std::numeric_limits<double>::quiet_NaN(), 0);
    }
    report.name = std::filesystem::absolute(folder).lexically_normal().filename().string();
    return report;
}

std::string format_table(const std::vector<CaseReport>& reports, size_t max_failures)
{
    size_t width = 4;
    for (const auto& report : reports)
        width = std::max(width, report.name.size());
    std::string out = fmt::format("{:<{}}  {:<10} {:>6}  {:>9} {:>9}  {:<8} {}\n", "case", width, "kind", "checks",
                                  "error", "allowed", "result", "worst check");
    for (const auto& report : reports) {
        const auto* worst = report.worst();
        out += worst
                   ? fmt::format("{:<{}}  {:<10} {:>6}  {:>9.2e} {:>9.2e}  {:<8} {}\n", report.name, width, report.kind,
                                 report.checks.size(), worst->error, worst->tolerance, verdict(report), worst->name)
                   : fmt::format("{:<{}}  {:<10} {:>6}  {:>9} {:>9}  {:<8}\n", report.name, width, report.kind, 0, "-",
                                 "-", verdict(report));
    }
    for (const auto& report : reports) {
        for (const auto& reason : report.not_run)
            out += fmt::format("{}: not run: {}\n", report.name, reason);
        size_t shown = 0;
        for (const auto& check : report.checks)
            if (!check.passed() && shown++ < max_failures)
                out += fmt::format("{}: FAILED {}: error {:.3e}, allowed {:.3e}\n", report.name, check.name,
                                   check.error, check.tolerance);
        if (shown > max_failures)
            out += fmt::format("{}: and {} more\n", report.name, shown - max_failures);
    }
    const auto passed = std::count_if(reports.begin(), reports.end(), [](const auto& r) { return r.passed(); });
    const auto not_run =
        std::count_if(reports.begin(), reports.end(), [](const auto& r) { return !r.not_run.empty(); });
    out += fmt::format("{} of {} cases passed", passed, reports.size());
    return out + (not_run > 0 ? fmt::format(", {} not run\n", not_run) : "\n");
}

nlohmann::json to_json(const std::vector<CaseReport>& reports)
{
    auto out = nlohmann::json::array();
    for (const auto& report : reports) {
        auto checks = nlohmann::json::array();
        for (const auto& check : report.checks)
            checks.push_back({{"name", check.name},
                              {"error", check.error},
                              {"tolerance", check.tolerance},
                              {"passed", check.passed()}});
        out.push_back({{"name", report.name},
                       {"kind", report.kind},
                       {"passed", report.passed()},
                       {"checks", checks},
                       {"not_run", report.not_run}});
    }
    return out;
}

} // namespace gradwind::verify
