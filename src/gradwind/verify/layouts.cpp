// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/verify/layouts.h"

#include "gradwind/core/config_loader.h"
#include "gradwind/core/error.h"
#include "gradwind/parallel/launch.h"
#include "gradwind/parallel/process.h"
#include "gradwind/verify/golden.h"
#include "gradwind/verify/layouts_judge.h"
#include "gradwind/verify/layouts_worker.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>

namespace gradwind::verify
{

namespace fs = std::filesystem;
using nlohmann::json;

namespace
{

/// One verification: where things lie, and what every run is told.
class Verification
{
public:
    explicit Verification(const LayoutsRequest& request)
        : request_(request), config_(load_config({.file = request.config, .overrides = own_overrides(request)})),
          work_(common_work(config_, request.n_processes))
    {
    }
    [[nodiscard]] const CommonWork& work() const { return work_; }

    /// The results of every rank; null for a rank that left none.
    [[nodiscard]] std::vector<json> run(const LayoutCase& layout, const std::string& name) const
    {
        const auto folder = folder_.path() / name;
        fs::create_directories(folder);
        WorkerOrder order{.config = request_.config,
                          .overrides = own_overrides(request_),
                          .reference = {.effective_lr = work_.effective_lr,
                                        .effective_batch = work_.effective_batch,
                                        .effective_validation_batch = work_.effective_validation_batch,
                                        .n_replicas = work_.n_replicas},
                          .folder = folder,
                          .reference_folder = name == kReference ? fs::path() : folder_.path() / kReference,
                          .precision = request_.precision};
        for (const auto& text : overrides_for(config_, work_, layout, request_.steps))
            order.overrides.push_back(text);
        write_order(order, folder / "order.json");
        const int n = layout.groups.gpus_per_node;
        // What a process has to say is in its result; the exit code adds nothing to it.
        (void)parallel::launch_local(request_.command(folder / "order.json"), {.processes = n});
        std::vector<json> results;
        for (int rank = 0; rank < n; ++rank) {
            std::ifstream in(result_file(folder, rank));
            results.push_back(in.good() ? json::parse(in, nullptr, false) : json());
        }
        return results;
    }
    static constexpr const char* kReference = "reference";

private:
    static std::vector<std::string> own_overrides(const LayoutsRequest& request)
    {
        auto result = request.overrides;
        result.push_back("training.precision=" + request.precision);
        if (request.precision == "64-true")
            result.emplace_back("system.hardware.accelerator=cpu");
        return result;
    }

    const LayoutsRequest& request_;
    Config config_;
    CommonWork work_;
    parallel::PrivateFolder folder_;
};

json run_reference(const Verification& verification, const LayoutCase& layout)
{
    const auto result = verification.run(layout, Verification::kReference).at(0);
    GRADWIND_CHECK(!result.is_null(), InternalError, "[verify] the reference of one process left no result");
    for (const char* key : {"refused", "stopped"})
        GRADWIND_CHECK(!result.contains(key), ConfigError, "[verify] one process cannot train this configuration: {}",
                       result.at(key).get<std::string>());
    return result;
}

bool is_wanted(const LayoutsRequest& request, const std::string& name)
{
    return request.only.empty() || std::any_of(request.only.begin(), request.only.end(),
                                               [&](const auto& text) { return name.find(text) != std::string::npos; });
}

} // namespace

bool LayoutsResult::passed() const
{
    const auto has_failed = [](const CaseReport& report) {
        return (report.checks.empty() && report.not_run.empty()) ||
               std::any_of(report.checks.begin(), report.checks.end(), [](const Check& c) { return !c.passed(); });
    };
    return std::none_of(reports.begin(), reports.end(), has_failed) &&
           std::any_of(reports.begin(), reports.end(), [](const auto& report) { return report.passed(); });
}

LayoutsResult verify_layouts(const LayoutsRequest& request)
{
    GRADWIND_CHECK(request.precision == "64-true" || request.precision == "32-true", ConfigError,
                   "[verify] expected --precision 64-true or 32-true, found {}", request.precision);
    const Verification verification(request);
    LayoutsResult result;
    result.work = verification.work();
    result.reference = reference_case(result.work);
    const auto cases = layout_cases(result.work, request.n_processes);
    const auto say = [&](const std::string& line) {
        if (request.progress)
            request.progress(line);
    };
    say(fmt::format("reference {}", result.reference.name()));
    const auto reference = run_reference(verification, result.reference);
    for (size_t i = 0; i < cases.size(); ++i) {
        const auto name = cases[i].name();
        if (!is_wanted(request, name))
            continue;
        say(fmt::format("{} ({} of {})", name, i + 1, cases.size()));
        auto folder = name;
        std::replace(folder.begin(), folder.end(), ' ', '_');
        result.reports.push_back(
            judge_layout(cases[i], request.precision, reference, verification.run(cases[i], folder)));
    }
    return result;
}

std::string format_layouts(const LayoutsResult& result, size_t max_failures)
{
    const auto& work = result.work;
    auto out =
        fmt::format("every layout: {} samples per optimiser step, effective learning rate {:g}{}; compared with "
                    "one process, {}\n"
                    "W processes, M of a model, R of a reader group, E of an ensemble, samples of a forward pass "
                    "x passes\n",
                    work.effective_batch, work.effective_lr,
                    work.members > 1 ? fmt::format(", {} members", work.members) : "", result.reference.name());
    out += format_table(result.reports, max_failures);
    return out;
}

json to_json(const LayoutsResult& result)
{
    return {{"effective_batch", result.work.effective_batch},
            {"effective_learning_rate", result.work.effective_lr},
            {"members", result.work.members},
            {"reference", result.reference.name()},
            {"passed", result.passed()},
            {"layouts", to_json(result.reports)}};
}

} // namespace gradwind::verify
