// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/cli/plan_command.h"

#include "gradwind/cli/comm_table.h"
#include "gradwind/cli/exchange_table.h"
#include "gradwind/cli/halo_table.h"
#include "gradwind/cli/traffic_table.h"
#include "gradwind/core/config_loader.h"
#include "gradwind/core/error.h"
#include "gradwind/parallel/layout_config.h"
#include "gradwind/train/job_traffic.h"
#include "gradwind/train/schedule.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <optional>
#include <ostream>

namespace gradwind::cli
{
namespace
{

using nlohmann::json;
using parallel::JobKind;
using parallel::Layout;
using parallel::LayoutOptions;

struct Plan {
    Layout layout;
    int64_t batch = 4; ///< samples per replica and micro-batch
    int64_t accumulation = 1;
    int64_t members_per_device = 1;
    double lr = 6.25e-5; ///< as written, of one replica
    train::LrScaling lr_scaling = train::LrScaling::Anemoi;
    std::optional<train::JobTraffic> traffic{};
    std::string no_traffic = "no configuration was given"; ///< why there is none

    [[nodiscard]] bool is_ensemble() const { return layout.options().kind == JobKind::Ensemble; }
    [[nodiscard]] int64_t effective_batch() const { return layout.effective_batch(batch, accumulation); }
    [[nodiscard]] double effective_lr() const
    {
        return train::effective_lr(lr, lr_scaling, layout.world(), layout.ensemble_size());
    }
    /// Of the nodes, that a process works on in an optimiser step.
    [[nodiscard]] int64_t copies() const { return batch * accumulation * (is_ensemble() ? members_per_device : 1); }
    [[nodiscard]] int64_t members() const { return members_per_device * layout.subgroup_size(); }
};

LayoutOptions with_world(LayoutOptions options, const std::string& world)
{
    if (world.empty())
        return options;
    const LayoutOptions wanted = parallel::parse_world(world);
    options.nodes = wanted.nodes;
    options.gpus_per_node = wanted.gpus_per_node;
    return options;
}

/// Builds the model if the configuration has all that it takes; a plan without it is still of use.
void predict_traffic(const Config& config, Plan& plan)
{
    for (const char* section : {"data.datasets", "dataloader", "graph", "model", "task", "training"})
        if (!config.has(section)) {
            plan.no_traffic = fmt::format("the configuration has no `{}`", section);
            return;
        }
    try {
        plan.traffic = train::predict_job_traffic(config, plan.layout);
    } catch (const Error& error) {
        plan.no_traffic = error.what();
    }
}

Plan make_plan(const PlanCommand& command)
{
    if (command.config.empty()) {
        GRADWIND_CHECK(command.overrides.empty(), ConfigError,
                       "[plan] `{}` needs a configuration to change: name one before it", command.overrides.front());
        const LayoutOptions example{.nodes = 2, .gpus_per_node = 4, .gpus_per_model = 2, .read_group_size = 2};
        return {.layout = Layout(with_world(example, command.world))};
    }
    const Config config = load_config({command.config, command.overrides});
    Plan plan{.layout = Layout(with_world(parallel::layout_from(config), command.world))};
    plan.batch = config.get<int64_t>("dataloader.batch_size.training", 1);
    plan.accumulation = config.get<int64_t>("training.accum_grad_batches", 1);
    plan.members_per_device = config.get<int64_t>("training.ensemble_size_per_device", 1);
    plan.lr = config.get<double>("training.optimization.lr", plan.lr);
    if (config.get<std::string>("training.optimization.lr_scaling", "anemoi") == "none")
        plan.lr_scaling = train::LrScaling::None;
    predict_traffic(config, plan);
    return plan;
}

std::string ranks_text(const std::vector<int>& ranks)
{
    const bool consecutive = ranks.back() - ranks.front() + 1 == static_cast<int>(ranks.size());
    if (ranks.size() > 2 && consecutive)
        return fmt::format("{}-{}", ranks.front(), ranks.back());
    return fmt::format("{}", fmt::join(ranks, ","));
}

json rank_json(const Plan& plan, int rank)
{
    const Layout& layout = plan.layout;
    const auto place = layout.place(rank);
    const auto samples = parallel::balanced_span(plan.effective_batch(), layout.replicas(), place.replica);
    json row = {{"rank", rank},
                {"node", rank / layout.options().gpus_per_node},
                {"local_rank", rank % layout.options().gpus_per_node},
                {"replica", place.replica},
                {"model_group",
                 {{"id", place.model_id}, {"rank", place.model_rank}, {"ranks", layout.model_ranks(place.model_id)}}},
                {"reader_group",
                 {{"id", place.reader_id},
                  {"rank", place.reader_rank},
                  {"ranks", layout.reader_ranks(place.model_id, place.reader_id)}}},
                {"samples", {samples.begin, samples.end()}},
                {"cells_part", {place.reader_rank, layout.reader_size()}}};
    if (plan.is_ensemble()) {
        row["ensemble_group"] = {{"id", place.ensemble_id},
                                 {"rank", place.ensemble_rank},
                                 {"ranks", layout.ensemble_ranks(place.ensemble_id)}};
        row["ensemble_subgroup"] = {{"id", place.subgroup_id},
                                    {"rank", place.subgroup_rank},
                                    {"ranks", layout.subgroup_ranks(place.subgroup_id)}};
    }
    return row;
}

void write_traffic_json(const Plan& plan, json& result)
{
    const auto& step = plan.traffic->step;
    const auto& reading = plan.traffic->reading;
    result["gradients"] = {{"parameters", step.parameters},
                           {"bytes_per_step", step.gradient_bytes},
                           {"calls_per_step", step.gradient_calls}};
    result["exchange"] = exchange_json(step.exchange);
    result["memory"] = memory_json(step);
    if (!step.groups.empty())
        result["halos"] = halo_json(step, plan.copies());
    result["reading"] = {{"readers_of_a_sample", reading.n_readers},
                         {"bytes_of_a_date", reading.whole_bytes},
                         {"bytes_of_the_busiest_process", reading.decoded_bytes},
                         {"redistributed", reading.reads_ranges},
                         {"block_bytes", reading.block_bytes},
                         {"field_bytes", reading.field_bytes}};
    result["communication"] = traffic_json(*plan.traffic);
}

void write_json(const Plan& plan, std::ostream& out)
{
    const auto& options = plan.layout.options();
    json result = {{"nodes", options.nodes},
                   {"gpus_per_node", options.gpus_per_node},
                   {"world", plan.layout.world()},
                   {"gpus_per_model", options.gpus_per_model},
                   {"read_group_size", options.read_group_size},
                   {"replicas", plan.layout.replicas()},
                   {"batch_per_replica", plan.batch},
                   {"accumulation", plan.accumulation},
                   {"effective_batch", plan.effective_batch()},
                   {"learning_rate", plan.lr},
                   {"effective_learning_rate", plan.effective_lr()}};
    if (plan.traffic)
        write_traffic_json(plan, result);
    if (plan.is_ensemble()) {
        result["gpus_per_ensemble"] = options.gpus_per_ensemble;
        result["members"] = plan.members();
    }
    for (int rank = 0; rank < plan.layout.world(); ++rank)
        result["ranks"].push_back(rank_json(plan, rank));
    out << result.dump(2) << "\n";
}

void write_reading(const Plan& plan, std::ostream& out)
{
    const auto& reading = plan.traffic->reading;
    out << fmt::format("reading          a date is {} decoded, in blocks of {} (a field has {})",
                       bytes_text(double(reading.whole_bytes)), bytes_text(double(reading.block_bytes)),
                       bytes_text(double(reading.field_bytes)));
    const auto percent = [&](int64_t bytes) {
        return 100 * double(bytes) / double(std::max<int64_t>(1, reading.whole_bytes));
    };
    if (plan.layout.model_size() > 1 || reading.n_readers > 1)
        out << fmt::format("\n                 each of {} processes that read a sample between them decodes up to "
                           "{:.0f} % of it: {}",
                           reading.n_readers, percent(reading.decoded_bytes),
                           reading.reads_ranges ? fmt::format("equal ranges, then redistributed (its own cells are "
                                                              "scattered and would be {:.0f} %)",
                                                              percent(reading.own_bytes))
                                                : "its own cells");
    out << "\n";
}

void write_summary(const Plan& plan, std::ostream& out)
{
    const Layout& layout = plan.layout;
    const auto& options = layout.options();
    out << fmt::format("processes        {} nodes x {} = {}, one per GPU\n", options.nodes, options.gpus_per_node,
                       layout.world());
    out << fmt::format("model groups     {} of {}\n", layout.world() / layout.model_size(), layout.model_size());
    if (plan.is_ensemble())
        out << fmt::format("ensemble groups  {} of {}: {} members each, {} per model group\n",
                           layout.world() / layout.ensemble_size(), layout.ensemble_size(), plan.members(),
                           plan.members_per_device);
    out << fmt::format("replicas         {}, each with samples of its own\n", layout.replicas());
    out << fmt::format("effective batch  {} per replica x {} replicas{} = {} samples per optimiser step\n", plan.batch,
                       layout.replicas(),
                       plan.accumulation > 1 ? fmt::format(" x {} accumulated", plan.accumulation) : "",
                       plan.effective_batch());
    if (plan.lr_scaling == train::LrScaling::Anemoi)
        out << fmt::format("learning rate    {:g} x {} nodes x {} GPUs / {} per {} = {:g}\n", plan.lr, options.nodes,
                           options.gpus_per_node, layout.ensemble_size(), plan.is_ensemble() ? "ensemble" : "model",
                           plan.effective_lr());
    else
        out << fmt::format("learning rate    {:g}, not scaled (training.optimization.lr_scaling: none)\n",
                           plan.effective_lr());
    if (plan.traffic)
        out << fmt::format("gradients        {} parameters: {} in {} buckets per step and rank ({} bytes)\n",
                           plan.traffic->step.parameters, bytes_text(double(plan.traffic->step.gradient_bytes)),
                           plan.traffic->step.gradient_calls, plan.traffic->step.gradient_bytes);
    else
        out << fmt::format("gradients        not known: {}\n", plan.no_traffic);
    if (!plan.traffic)
        return;
    write_reading(plan, out);
    const auto& step = plan.traffic->step;
    for (const auto& table : {memory_table(step), exchange_table(step.exchange)})
        for (const auto& line : table)
            out << line << "\n";
    if (!step.groups.empty()) {
        out << fmt::format(
            "\nWhat {} processes that share a model exchange (halo rows over owned rows; interior: least "
            "share of a process's\ndestinations that need none; bytes that the busiest one receives for "
            "a sample in one layer, and what an\nall-gather of the nodes would be):\n",
            layout.model_size());
        for (const auto& line : halo_table(step, plan.copies()))
            out << line << "\n";
    }
    if (const auto lines = traffic_table(*plan.traffic); !lines.empty()) {
        out << "\nWhat a process hands to collectives (`comm/<group>/<collective>_bytes` of metrics.jsonl):\n";
        for (const auto& line : lines)
            out << line << "\n";
    }
}

void write_ranks(const Plan& plan, std::ostream& out)
{
    constexpr int kShown = 64;
    const Layout& layout = plan.layout;
    const int shown = std::min(layout.world(), kShown);
    out << fmt::format("\n{:>5} {:>5} {:>4}  {:<14} {:<14}{}{}\n", "rank", "node", "GPU", "model group", "reads with",
                       plan.is_ensemble() ? fmt::format(" {:<14} {:<14}", "ensemble", "same part as") : "",
                       " reads of each global batch");
    for (int rank = 0; rank < shown; ++rank) {
        const auto place = layout.place(rank);
        const auto samples = parallel::balanced_span(plan.effective_batch(), layout.replicas(), place.replica);
        const std::string ensemble =
            plan.is_ensemble() ? fmt::format(" {:<14} {:<14}", ranks_text(layout.ensemble_ranks(place.ensemble_id)),
                                             ranks_text(layout.subgroup_ranks(place.subgroup_id)))
                               : "";
        const std::string cells = layout.reader_size() == 1 ? "all cells"
                                                            : fmt::format("cells: part {} of {}", place.reader_rank + 1,
                                                                          layout.reader_size());
        out << fmt::format("{:>5} {:>5} {:>4}  {:<14} {:<14}{} samples {}-{}, {}\n", rank,
                           rank / layout.options().gpus_per_node, rank % layout.options().gpus_per_node,
                           ranks_text(layout.model_ranks(place.model_id)),
                           ranks_text(layout.reader_ranks(place.model_id, place.reader_id)), ensemble, samples.begin,
                           samples.end() - 1, cells);
    }
    if (shown < layout.world())
        out << fmt::format("  ... and {} more ranks in the same pattern (all of them with --json)\n",
                           layout.world() - shown);
}

} // namespace

int run(const PlanCommand& command, std::ostream& out)
{
    const Plan plan = make_plan(command);
    if (command.format == PlanCommand::Format::Json) {
        write_json(plan, out);
        return 0;
    }
    if (command.config.empty())
        out << "No configuration given; this is an example: 2 GPUs per model, 4 samples per replica.\n\n";
    write_summary(plan, out);
    write_ranks(plan, out);
    return 0;
}

} // namespace gradwind::cli
