// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Stored results of the original on several processes (kind "distributed"): what every rank computes of its part of the
// grid, its loss, and the gradient of the whole.
//
// The case is run by local processes that start as this one did; they find in the environment what they are for, and
// each leaves the checks of its rank in a file.
#include "gradwind/core/error.h"
#include "gradwind/loss/loss.h"
#include "gradwind/model/model.h"
#include "gradwind/model/rollout.h"
#include "gradwind/ops/tensor_io.h"
#include "gradwind/parallel/process.h"
#include "gradwind/parallel/world.h"
#include "gradwind/verify/golden_variables.h"
#include "gradwind/verify/report.h"
#include "gradwind/verify/tensor_error.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <set>

namespace gradwind::verify
{

namespace fs = std::filesystem;
using nlohmann::json;

namespace
{

constexpr const char* kRun = "GRADWIND_GOLDEN_RUN";        ///< number of the run in the case
constexpr const char* kResults = "GRADWIND_GOLDEN_CHECKS"; ///< folder for what the ranks found

// The stored tensors are float32, and single tensors of a gradient lose up to 1e-5 to rounding (golden README).
constexpr double kOutputTolerance = 2e-6;
constexpr double kGradientTolerance = 5e-5;
constexpr double kZeroGradient = 1e-6;
// Where single precision loses more, as normalised keys of heads with two columns do, by our own two precisions.
constexpr double kRoundingMargin = 10;

using Tensors = std::map<std::string, at::Tensor>;

Statistics unit_statistics(const VariableTable& variables)
{
    const std::vector<double> zeros(variables.names().size(), 0.0), ones(variables.names().size(), 1.0);
    return {zeros, ones, zeros, ones};
}

/// The noise of one model group of a case, where it has some.
class NoiseOfGroup : public model::NoiseSource
{
public:
    NoiseOfGroup(const fs::path& file, int group)
    {
        const SafetensorsFile stored(file);
        const auto name = fmt::format("noise.group{}", group);
        if (stored.tensors().contains(name))
            noise_ = ops::read_tensor(stored, name);
    }
    [[nodiscard]] at::Tensor draw(const model::NoiseRequest&) const override { return noise_; }

private:
    at::Tensor noise_; ///< [B, members, nodes, channels]
};

/// Groups of a run; 1 GPU per ensemble stands for no ensembles.
parallel::Layout layout_of(const json& run)
{
    const int per_ensemble = run.value("gpus_per_ensemble", 1);
    return parallel::Layout(
        {.gpus_per_node = run.at("world"),
         .gpus_per_model = run.at("model_group_size"),
         .gpus_per_ensemble = per_ensemble,
         .kind = per_ensemble > 1 ? parallel::JobKind::Ensemble : parallel::JobKind::Deterministic});
}

/// "w4m2.float32.safetensors", "w4m2e4.float32.safetensors".
std::string stored_results(const json& run)
{
    const auto layout = layout_of(run);
    const bool is_ensemble = layout.options().kind == parallel::JobKind::Ensemble;
    return fmt::format("w{}m{}{}.float32.safetensors", layout.world(), layout.model_size(),
                       is_ensemble ? fmt::format("e{}", layout.ensemble_size()) : "");
}

/// One rank of one run.
class RankOfCase
{
public:
    RankOfCase(const fs::path& folder, const json& description, const json& run)
        : folder_(folder), description_(description),
          sections_(Config::from_json(description.at("config"), (folder / "case.json").string())),
          variables_(variables_of_case(description)), graph_(graph::read_graph(folder / "graph.safetensors")),
          batches_(ops::read_tensor(SafetensorsFile(folder / "io.safetensors"), "batches")),
          expected_(ops::read_tensors(SafetensorsFile(folder / stored_results(run)))),
          groups_(parallel::make_groups(
              layout_of(run), parallel::connect_world(parallel::resolve_environment(parallel::process_variables())))),
          noise_(folder / "io.safetensors", groups_.layout.place(groups_.world.rank()).model_id)
    {
        for (const char* name : {"hidden", "data"})
            sharding_.nodes.emplace(
                name, parallel::Partition::contiguous(graph_.node_set(name).size(), groups_.model.size()));
        sharding_.group = groups_.model;
    }

    /// Compares output and loss of this rank. @return gradients summed over all ranks, by parameter
    /// @throws ConfigError if the network has parts that cannot be shared
    Tensors compare(CaseReport& report, at::ScalarType dtype) const;
    /// What rank 0 compares: both precisions with the stored gradients.
    void compare_gradients(CaseReport& report, const Tensors& in_double, const Tensors& in_float) const;

private:
    [[nodiscard]] std::unique_ptr<loss::Loss> loss(const Statistics& statistics) const;
    [[nodiscard]] std::string prefix(at::ScalarType dtype) const
    {
        return fmt::format("W{} M{} {} ", groups_.world.size(), groups_.model.size(),
                           dtype == at::kDouble ? "float64" : "float32");
    }

    fs::path folder_;
    json description_;
    Config sections_;
    VariableTable variables_;
    graph::Graph graph_;
    at::Tensor batches_; ///< [replicas, B, T, 1, N, V]
    Tensors expected_;
    parallel::Groups groups_;
    NoiseOfGroup noise_;
    parallel::Sharding sharding_;
};

std::unique_ptr<loss::Loss> RankOfCase::loss(const Statistics& statistics) const
{
    const loss::LossInputs inputs{.variables = variables_,
                                  .statistics = statistics,
                                  .node_attribute =
                                      [&](const std::string& name) {
                                          const auto& attribute = graph_.node_set("data").attributes.at(name);
                                          return at::tensor(attribute.values);
                                      },
                                  .n_step_output = 1};
    return loss::build_loss(sections_.at("training_loss"), sections_.at("scalers"), sections_.at("variable_groups"),
                            inputs);
}

Tensors RankOfCase::compare(CaseReport& report, at::ScalarType dtype) const
{
    const auto statistics = unit_statistics(variables_);
    const auto network = model::build_model(sections_.at("model"),
                                            {.graph = graph_,
                                             .variables = variables_,
                                             .statistics = &statistics,
                                             .n_step_input = description_.at("dims").at("n_step_input").get<int64_t>(),
                                             .n_step_output = 1,
                                             .sharding = sharding_});
    network->to(dtype);
    model::load_state(*network, ops::read_tensors(SafetensorsFile(folder_ / "weights.safetensors")));
    const auto rank = groups_.world.rank();
    const auto n_replicas = groups_.layout.replicas();
    const auto own = fmt::format("rank{}.", rank);
    const auto n_step_input = description_.at("dims").at("n_step_input").get<int64_t>();
    const auto rows = sharding_.own_rows("data");
    const auto batch = rows.of(batches_[groups_.layout.place(rank).replica].to(dtype), 3);
    const auto output =
        network->forward(model::first_input(batch, n_step_input, variables_), {.rollout_step = 0, .noise = &noise_});
    const loss::LossContext context{
        .samples = double(batch.size(0) * n_replicas),
        .share = std::make_shared<loss::GridShare>(
            loss::GridShare{groups_.model, sharding_.partition("data", graph_.node_set("data").size()), rows}),
        .members = std::make_shared<parallel::MemberExchange>(groups_.subgroup)};
    const auto share = (*loss(statistics))(output, model::target_of(batch, n_step_input, 1, 0), context);
    share.backward();
    const auto value = groups_.ensemble.sum(std::array{share.item<double>() * n_replicas})[0];
    const auto stored = expected_.at(own + "loss").item<double>();
    report.check(prefix(dtype) + own + "loss", std::abs(value - stored) / std::abs(stored), kOutputTolerance);
    // Stored with the members of all model groups of the ensemble.
    constexpr int64_t members = 2;
    const auto all_members = groups_.subgroup.all_gather(output.detach().movedim(members, 0)).movedim(0, members);
    report.check(prefix(dtype) + own + "output", relative_error(all_members, expected_.at(own + "output")),
                 kOutputTolerance);
    Tensors gradients;
    for (const auto& item : network->named_parameters()) {
        const auto& gradient = item.value().grad();
        gradients[item.key()] =
            groups_.world.all_reduce_sum(gradient.defined() ? gradient : at::zeros_like(item.value())).to(at::kDouble);
    }
    return gradients;
}

void RankOfCase::compare_gradients(CaseReport& report, const Tensors& in_double, const Tensors& in_float) const
{
    if (groups_.world.rank() != 0)
        return;
    double squares = 0;
    for (const auto& [name, gradient] : in_double)
        squares += gradient.square().sum().item<double>();
    const auto whole = std::sqrt(squares);
    for (const auto& [stored, expected] : expected_) {
        const auto begin = stored.starts_with("grad.")             ? size_t(5)
                           : stored.starts_with("reference.grad.") ? size_t(15)
                                                                   : std::string::npos;
        if (begin == std::string::npos)
            continue;
        const auto name = stored.substr(begin);
        // The original's gradients of an ensemble are too small by the number of its model groups (spec §6.4).
        const auto truth = expected * groups_.layout.subgroup_size();
        if (!in_double.contains(name)) {
            report.check(prefix(at::kDouble) + stored + " (not computed)", std::nan(""), 0);
            continue;
        }
        const auto rounding = relative_error(in_float.at(name), in_double.at(name));
        for (const auto dtype : {at::kDouble, at::kFloat}) {
            const auto& found = (dtype == at::kDouble ? in_double : in_float).at(name);
            // Of keys without a normalisation the bias cancels: the stored gradient is rounding.
            if (in_double.at(name).norm().item<double>() < kZeroGradient * whole)
                report.check(prefix(dtype) + stored + " (zero, over the whole gradient)",
                             found.norm().item<double>() / whole, kZeroGradient);
            else
                report.check(prefix(dtype) + stored, relative_error(found, truth),
                             std::max(kGradientTolerance, kRoundingMargin * rounding));
        }
    }
}

void write_checks(const CaseReport& report, const fs::path& path)
{
    json checks = json::array();
    for (const auto& check : report.checks)
        checks.push_back({check.name, check.error, check.tolerance});
    std::ofstream(path) << json{{"checks", checks}, {"not_run", report.not_run}};
}

/// What a process of a case does: its checks go to a file, the report only says that it came to the end.
CaseReport run_rank(const fs::path& folder, const json& description)
{
    const auto& run = description.at("runs").at(size_t(std::atoi(std::getenv(kRun))));
    const RankOfCase rank(folder, description, run);
    CaseReport found;
    try {
        const auto in_double = rank.compare(found, at::kDouble), in_float = rank.compare(found, at::kFloat);
        rank.compare_gradients(found, in_double, in_float);
    } catch (const ConfigError& error) {
        found.not_run.emplace_back(error.what());
    }
    const auto variables = parallel::process_variables();
    const auto number = parallel::resolve_environment(variables).rank;
    write_checks(found, fs::path(std::getenv(kResults)) / fmt::format("rank{}.json", number));
    CaseReport done;
    done.check("ran", 0, 0);
    return done;
}

void start(const fs::path& folder, size_t run, int n_processes, const fs::path& results)
{
    const char* executable = std::getenv("GRADWIND_EXECUTABLE");
    const std::vector<std::string> command = {"/bin/sh",
                                              "-c",
                                              "exec \"$@\" >/dev/null",
                                              "sh",
                                              "/usr/bin/env",
                                              fmt::format("{}={}", kRun, run),
                                              fmt::format("{}={}", kResults, results.string()),
                                              executable ? executable : fs::read_symlink("/proc/self/exe").string(),
                                              "verify",
                                              "--golden",
                                              fs::absolute(folder).string()};
    const int code = parallel::launch_local(command, {.processes = n_processes});
    GRADWIND_CHECK(code == 0, CommError, "[verify] expected {} processes to end well, found exit code {}", n_processes,
                   code);
}

} // namespace

CaseReport verify_distributed_case(const fs::path& folder, const json& description)
{
    if (std::getenv(kRun))
        return run_rank(folder, description);
    CaseReport report;
    const auto& runs = description.at("runs");
    std::set<std::string> not_run;
    for (size_t i = 0; i < runs.size(); ++i) {
        const int world = runs[i].at("world");
        const parallel::PrivateFolder results;
        start(folder, i, world, results.path());
        for (int rank = 0; rank < world; ++rank) {
            std::ifstream in(results.path() / fmt::format("rank{}.json", rank));
            GRADWIND_CHECK(in.good(), DataError, "[verify] rank {} of {} left no results", rank, world);
            const auto found = json::parse(in);
            for (const auto& check : found.at("checks"))
                report.check(check[0], check[1].is_number() ? check[1].get<double>() : std::nan(""), check[2]);
            for (const auto& reason : found.at("not_run"))
                not_run.insert(reason.get<std::string>());
        }
    }
    report.not_run.assign(not_run.begin(), not_run.end());
    return report;
}

} // namespace gradwind::verify
