// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/cli/tune_command.h"

#include "gradwind/cli/progress_printer.h"
#include "gradwind/core/config_loader.h"
#include "gradwind/core/config_schema.h"
#include "gradwind/core/error.h"
#include "gradwind/core/safetensors.h"
#include "gradwind/parallel/launch.h"
#include "gradwind/tune/tune.h"

#include <nlohmann/json.hpp>

#include <cmath>
#include <ostream>
#include <span>

namespace gradwind::cli
{

namespace fs = std::filesystem;

namespace
{

int launch(const TuneCommand& command)
{
    std::vector<std::string> arguments = {fs::read_symlink("/proc/self/exe").string(), "tune", command.config.string()};
    arguments.insert(arguments.end(), command.overrides.begin(), command.overrides.end());
    arguments.insert(arguments.end(), {"--steps", std::to_string(command.steps), "--allow", command.allow, "--rank",
                                       std::to_string(command.rank), "--output", command.output.string()});
    if (command.format == TuneCommand::Format::Json)
        arguments.emplace_back("--json");
    return parallel::launch_local(arguments, {.processes = command.nproc});
}

tune::Accuracy accuracy_of(const std::string& word)
{
    if (word == "fp32")
        return tune::Accuracy::Exact;
    if (word == "bf16")
        return tune::Accuracy::Rounded;
    GRADWIND_CHECK(word == "compression", ConfigError,
                   "[tune] expected fp32, bf16 or compression for --allow, found `{}`", word);
    return tune::Accuracy::Any;
}

/// What break-even says as a number of GB/s; null where there is none.
nlohmann::json finite(double bytes_per_s)
{
    return std::isinf(bytes_per_s) ? nlohmann::json() : nlohmann::json(1e-9 * bytes_per_s);
}

nlohmann::json to_json(const tune::TuneReport& report)
{
    nlohmann::json trials = nlohmann::json::array(), points = nlohmann::json::array();
    for (const auto& trial : report.trials)
        trials.push_back({{"name", trial.name},
                          {"buckets", trial.buckets},
                          {"wire_bytes", trial.wire_bytes},
                          {"steps", trial.steps},
                          {"step_ms", 1e3 * trial.seconds},
                          {"scatter_ms", 1e3 * trial.scatter_s},
                          {"exposed_ms", 1e3 * trial.exposed_s},
                          {"predicted_ms", 1e3 * trial.predicted_s}});
    for (const auto& point : report.link_points)
        points.push_back({{"bytes", point.bytes}, {"us", 1e6 * point.seconds}});
    const auto& learnt = report.learnt;
    return {{"world", learnt.world},
            {"gradient_bytes", learnt.gradient_bytes},
            {"all_reduce", points},
            {"latency_us", 1e6 * learnt.fp32.link.latency_s},
            {"bandwidth_gb_s", 1e-9 * learnt.fp32.link.bytes_per_s},
            {"bf16_bandwidth_gb_s", 1e-9 * learnt.bf16_link.bytes_per_s},
            {"contention", learnt.contention},
            {"compute_ms", 1e3 * learnt.compute_s},
            {"backward_ms", 1e3 * learnt.fp32.backward_s},
            {"break_even_gb_s", finite(report.break_even_bytes_per_s)},
            {"winner", report.trials[report.winner].name},
            {"trials", trials},
            {"verdict", report.verdict}};
}

void print(const tune::TuneReport& report, std::ostream& out)
{
    out << fmt::format("{:.1f} MB of gradients, a step without exchange {:.2f} ms, {:.2f} ms of it backward\n",
                       1e-6 * double(report.learnt.gradient_bytes), 1e3 * report.learnt.compute_s,
                       1e3 * report.learnt.fp32.backward_s);
    out << fmt::format("  {:<24} {:>8} {:>9} {:>6} {:>10} {:>12} {:>13}\n", "exchange", "buckets", "sent MB", "steps",
                       "step ms", "exposed ms", "predicted ms");
    for (size_t i = 0; i < report.trials.size(); ++i) {
        const auto& trial = report.trials[i];
        out << fmt::format("{} {:<24} {:>8} {:>9.2f} {:>6} {:>10.2f} {:>12.2f} {:>13}\n",
                           i == report.winner ? '*' : ' ', trial.name, trial.buckets, 1e-6 * double(trial.wire_bytes),
                           trial.steps, 1e3 * trial.seconds, 1e3 * trial.exposed_s,
                           trial.predicted_s > 0 ? fmt::format("{:.2f}", 1e3 * trial.predicted_s) : "-");
    }
    for (const auto& sentence : report.verdict)
        out << sentence << "\n";
}

} // namespace

int run(const TuneCommand& command, std::ostream& out)
{
    const auto accuracy = accuracy_of(command.allow);
    const auto config = load_config({.file = command.config, .overrides = command.overrides});
    (void)check_config(config);
    // Found now, not after minutes of measuring.
    const auto folder = fs::absolute(command.output).parent_path();
    GRADWIND_CHECK(fs::is_directory(folder) && !fs::is_directory(command.output), ConfigError,
                   "[tune] expected a file in a folder that exists for --output, found {}", command.output.string());
    if (command.nproc > 1)
        return launch(command);
    const auto environment = parallel::resolve_environment(parallel::process_variables());
    const bool json = command.format == TuneCommand::Format::Json;
    ProgressPrinter printer(out);
    train::NoProgress nobody;
    const auto report =
        tune::tune(config, environment, {.steps = command.steps, .accuracy = accuracy, .rank = command.rank},
                   json ? static_cast<train::ProgressSink&>(nobody) : static_cast<train::ProgressSink&>(printer));
    if (environment.rank != 0)
        return 0;
    const auto plan = tune::plan_of(report);
    write_file_atomically(command.output, std::as_bytes(std::span(plan)));
    if (json) {
        out << to_json(report).dump(1) << "\n";
        return 0;
    }
    print(report, out);
    out << fmt::format("{} holds the exchange with the star: training.strategy.plan={}\n", command.output.string(),
                       command.output.string());
    return 0;
}

} // namespace gradwind::cli
