// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Whole training runs of the original, from the user's configuration to the last weight (kind "run").
#include "gradwind/core/config_loader.h"
#include "gradwind/core/error.h"
#include "gradwind/graph/build.h"
#include "gradwind/ops/tensor_io.h"
#include "gradwind/parallel/launch.h"
#include "gradwind/parallel/process.h"
#include "gradwind/train/graph_inputs.h"
#include "gradwind/train/setup.h"
#include "gradwind/train/stage.h"
#include "gradwind/train/trainer.h"
#include "gradwind/verify/graph_compare.h"
#include "gradwind/verify/report.h"
#include "gradwind/verify/tensor_error.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>

namespace gradwind::verify
{

namespace fs = std::filesystem;
using nlohmann::json;

namespace
{

// The original in float64 with scalers of float32; the same mathematics in another order of summation.
constexpr double kLossTolerance64 = 1e-8;
constexpr long kSteps64 = 40;

json read_json(const fs::path& path)
{
    std::ifstream in(path);
    GRADWIND_CHECK(in.good(), DataError, "[verify] cannot read {}", path.string());
    return json::parse(in);
}

/// Largest |a - b| / |b| of two lists of numbers; a length that differs is an error of infinity.
double worst_relative(const json& found, const json& expected)
{
    if (found.size() != expected.size())
        return std::numeric_limits<double>::infinity();
    double worst = 0;
    for (size_t i = 0; i < found.size(); ++i) {
        const auto b = expected[i].get<double>();
        worst = std::max(worst, std::abs(found[i].get<double>() - b) / std::max(std::abs(b), 1e-300));
    }
    return worst;
}

double worst_rate(const json& found, const json& expected)
{
    if (found.size() != expected.size())
        return std::numeric_limits<double>::infinity();
    double worst = 0, largest = 0;
    for (size_t i = 0; i < found.size(); ++i) {
        worst = std::max(worst, std::abs(found[i].get<double>() - expected[i].get<double>()));
        largest = std::max(largest, expected[i].get<double>());
    }
    return worst / largest;
}

double n_different(const json& found, const json& expected)
{
    double result = std::abs(double(found.size()) - double(expected.size()));
    for (size_t i = 0; i < std::min(found.size(), expected.size()); ++i)
        result += found[i] != expected[i];
    return result;
}

class RunCase
{
public:
    RunCase(const fs::path& folder, const json& description) : folder_(folder), case_(description) {}
    void compare_graph(CaseReport& report) const;
    void compare_initial(CaseReport& report) const;
    void compare_training(CaseReport& report, const fs::path& run_dir) const;
    void compare_training64(CaseReport& report, const fs::path& run_dir) const;
    [[nodiscard]] int n_processes() const { return case_.value("processes", 1); }

private:
    enum class OnGraph { Built, Stored };
    [[nodiscard]] std::vector<std::string> overrides(OnGraph graph) const;
    [[nodiscard]] Config configuration(OnGraph graph, const std::vector<std::string>& more = {}) const
    {
        auto all = overrides(graph);
        all.insert(all.end(), more.begin(), more.end());
        return load_config({.file = folder_ / case_.at("config").get<std::string>(), .overrides = all});
    }
    void train(const fs::path& run_dir, const std::vector<std::string>& more) const;
    void compare_record(CaseReport& report, const json& found, const json& expected, const std::string& prefix) const;
    [[nodiscard]] json expected_record(size_t rank) const;
    [[nodiscard]] double tolerance(const char* key) const { return case_.at("tolerance").at(key).get<double>(); }

    fs::path folder_;
    json case_;
};

std::vector<std::string> RunCase::overrides(OnGraph graph) const
{
    std::vector<std::string> result = {"dataloader.sample_order=anemoi",
                                       "system.input.dataset=" +
                                           fs::absolute(folder_ / case_.at("dataset").get<std::string>()).string()};
    if (graph == OnGraph::Stored) {
        result.push_back("system.input.graph=" + fs::absolute(folder_ / case_.at("graph").get<std::string>()).string());
        result.emplace_back("graph.overwrite=false");
    }
    for (const auto& override_text : case_.at("overrides"))
        result.push_back(override_text);
    return result;
}

void RunCase::compare_graph(CaseReport& report) const
{
    const auto config = configuration(OnGraph::Built);
    compare_graphs(graph::build_graph(config.at("graph"), train::graph_inputs()),
                   graph::read_graph(folder_ / case_.at("graph").get<std::string>()), report, "graph: ");
}

void RunCase::compare_initial(CaseReport& report) const
{
    const auto config = configuration(OnGraph::Stored);
    const auto settings = train::TrainSettings::from_config(config, case_.at("environment"));
    const auto training = train::open_stage(config, "training", settings.dataset_names);
    std::vector<train::ModelDataset> datasets;
    for (const auto& part : training.parts())
        datasets.push_back(train::model_dataset(config, part.name, *part.dataset));
    const auto graph = graph::read_graph(folder_ / case_.at("graph").get<std::string>());
    const auto model = train::make_model(config, settings, graph, train::for_model(datasets));
    const SafetensorsFile file(folder_ / case_.at("initial").get<std::string>());
    double wrong = std::abs(double(train::state_of(*model).size()) - double(file.tensors().size()));
    double coordinates = 0;
    for (const auto& [name, tensor] : train::state_of(*model)) {
        const auto expected = ops::read_tensor(file, name).reshape(tensor.sizes());
        // Sines and cosines of coordinates come from another mathematical library.
        if (name.find("latlons_") != std::string::npos)
            coordinates = std::max(coordinates, relative_error(tensor, expected));
        else
            wrong += double(tensor.ne(expected.to(tensor.scalar_type())).sum().item<int64_t>());
    }
    report.check("initial weights, different elements", wrong, 0);
    report.check("initial coordinates", coordinates, 1e-6);
}

void RunCase::train(const fs::path& run_dir, const std::vector<std::string>& more) const
{
    if (n_processes() == 1) {
        train::NoProgress nobody;
        (void)train::run_training(configuration(OnGraph::Stored, more), {},
                                  {.run_dir = run_dir,
                                   .resume = std::nullopt,
                                   .reference = std::nullopt,
                                   .record = train::Record::Yes,
                                   .variables = case_.at("environment").get<parallel::Variables>()},
                                  nobody);
        return;
    }
    const char* executable = std::getenv("GRADWIND_EXECUTABLE");
    // What the runs report would stand between the lines of the comparison.
    std::vector<std::string> command = {"/bin/sh", "-c", "exec \"$@\" >/dev/null", "sh", "/usr/bin/env"};
    for (const auto& [name, value] : case_.at("environment").items())
        command.push_back(name + "=" + value.get<std::string>());
    command.push_back(executable ? executable : fs::read_symlink("/proc/self/exe").string());
    command.insert(command.end(), {"train", (folder_ / case_.at("config").get<std::string>()).string()});
    for (const auto& text : overrides(OnGraph::Stored))
        command.push_back(text);
    command.insert(command.end(), more.begin(), more.end());
    command.insert(command.end(), {"--run", run_dir.string(), "--record"});
    const int code = parallel::launch_local(command, {.processes = n_processes()});
    GRADWIND_CHECK(code == 0, CommError, "[verify] expected {} training processes to end well, found exit code {}",
                   n_processes(), code);
}

void RunCase::compare_record(CaseReport& report, const json& found, const json& expected,
                             const std::string& prefix) const
{
    report.check(prefix + "anchors, different batches", n_different(found["anchors"], expected["anchors"]), 0);
    report.check(prefix + "loss", worst_relative(found["loss"], expected["loss"]), tolerance("loss"));
    report.check(prefix + "learning rate", worst_rate(found["lr"], expected["lr"]), tolerance("learning_rate"));
    report.check(prefix + "gradient norm", worst_relative(found["grad_norm"], expected["grad_norm"]),
                 tolerance("grad_norm"));
    report.check(prefix + "number of validations",
                 std::abs(double(found["validation"].size()) - double(expected["validation"].size())), 0);
    for (size_t i = 0; i < std::min(found["validation"].size(), expected["validation"].size()); ++i)
        for (const auto& [name, value] : expected["validation"][i].items()) {
            const auto own = found["validation"][i].value(name, std::nan(""));
            report.check(prefix + name, std::abs(own - value.get<double>()) / std::abs(value.get<double>()),
                         name == "step" ? 0 : tolerance("validation"));
        }
}

json RunCase::expected_record(size_t rank) const
{
    auto result = read_json(folder_ / case_.at("records").at(rank).get<std::string>());
    // Where several processes share a sample its date was not recorded; a run on one process has it.
    if (case_.contains("record_one_process"))
        result["anchors"] = read_json(folder_ / case_.at("record_one_process").get<std::string>())["anchors"];
    return result;
}

void RunCase::compare_training(CaseReport& report, const fs::path& run_dir) const
{
    train(run_dir, {});
    for (size_t rank = 0; rank < case_.at("records").size(); ++rank)
        compare_record(report, read_json(run_dir / fmt::format("record_rank{}.json", rank)), expected_record(rank),
                       fmt::format("rank {}: ", rank));
    const auto checkpoint = train::Checkpoint::open(run_dir);
    const SafetensorsFile expected(folder_ / case_.at("final").get<std::string>());
    for (const auto& [name, info] : expected.tensors())
        if (checkpoint.weights.has(name))
            report.check("final " + name,
                         relative_error(ops::read_tensor(checkpoint.weights, name), ops::read_tensor(expected, name)),
                         tolerance("final_weights"));
        else
            report.check("final " + name + " is missing", std::nan(""), 0);
}

void RunCase::compare_training64(CaseReport& report, const fs::path& run_dir) const
{
    if (!case_.contains("records_float64"))
        return;
    // Part of the run is enough; the schedule stays that of the whole.
    const auto period = configuration(OnGraph::Stored).get<int64_t>("training.optimization.lr_scheduler.t_initial");
    train(run_dir, {"training.precision=64-true", fmt::format("training.max_steps={}", kSteps64),
                    fmt::format("training.optimization.lr_scheduler.t_initial={}", period)});
    const auto& records = case_.at("records_float64");
    for (size_t rank = 0; rank < records.size(); ++rank) {
        auto expected = read_json(folder_ / records[rank].get<std::string>())["loss"];
        expected.erase(expected.begin() + std::min<long>(kSteps64, long(expected.size())), expected.end());
        report.check(fmt::format("rank {}: float64 loss of {} steps", rank, kSteps64),
                     worst_relative(read_json(run_dir / fmt::format("record_rank{}.json", rank))["loss"], expected),
                     kLossTolerance64);
    }
}

} // namespace

CaseReport verify_run_case(const fs::path& folder, const json& description)
{
    CaseReport report;
    const RunCase golden(folder, description);
    golden.compare_graph(report);
    golden.compare_initial(report);
    const parallel::PrivateFolder temporary;
    golden.compare_training(report, temporary.path() / "run");
    golden.compare_training64(report, temporary.path() / "run64");
    return report;
}

} // namespace gradwind::verify
