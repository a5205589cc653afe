// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/setup.h"

#include "gradwind/core/error.h"
#include "gradwind/model/freeze.h"
#include "gradwind/parallel/layout_config.h"
#include "gradwind/train/graph_inputs.h"
#include "gradwind/train/numpy_random.h"
#include "gradwind/train/warm_start.h"

#include <ATen/Context.h>
#include <torch/cuda.h>

#include <cstdlib>

namespace gradwind::train
{

namespace fs = std::filesystem;

namespace
{

fs::path cache_folder()
{
    if (const char* folder = std::getenv("GRADWIND_CACHE"); folder && *folder)
        return fs::path(folder) / "graphs";
    if (const char* folder = std::getenv("XDG_CACHE_HOME"); folder && *folder)
        return fs::path(folder) / "gradwind" / "graphs";
    if (const char* home = std::getenv("HOME"); home && *home)
        return fs::path(home) / ".cache" / "gradwind" / "graphs";
    return fs::temp_directory_path() / "gradwind" / "graphs";
}

std::string count_text(const graph::Graph& graph)
{
    std::string result;
    for (const auto& nodes : graph.nodes)
        result += fmt::format("{}{} {} nodes", result.empty() ? "" : ", ", nodes.size(), nodes.name);
    for (const auto& edges : graph.edges)
        result += fmt::format(", {} {}->{} edges", edges.size(), edges.source, edges.target);
    return result;
}

} // namespace

VariableTable variable_table(const Config& config, const std::string& dataset_name, const data::Dataset& dataset)
{
    const auto section = config.at("data.datasets." + dataset_name);
    const auto names = [&](const char* key) { return section.get<std::vector<std::string>>(key, {}); };
    return {dataset.variables(), names("forcing"), names("diagnostic"), names("target")};
}

ModelDataset model_dataset(const Config& config, const std::string& name, const data::Dataset& training)
{
    const auto variables = variable_table(config, name, training);
    auto statistics = training.statistics();
    const auto section = config.find("data.datasets." + name + ".processors").value_or(Config());
    auto processors = model::build_processors(section, {variables, statistics}); // may change the statistics
    return {name, variables, std::move(statistics), std::move(processors)};
}

std::vector<model::FurtherDataset> for_model(std::span<const ModelDataset> datasets)
{
    std::vector<model::FurtherDataset> result;
    for (const auto& dataset : datasets)
        result.push_back({dataset.name, dataset.variables, &dataset.statistics});
    return result;
}

graph::Graph obtain_graph(const Config& config, std::vector<std::string>& notes)
{
    const bool overwrite = config.get<bool>("graph.overwrite", true);
    const fs::path file = config.get<std::string>("system.input.graph", "");
    if (!file.empty() && !overwrite && fs::exists(file)) {
        auto graph = graph::read_graph(file);
        notes.push_back(fmt::format("graph from {}: {}", file.string(), count_text(graph)));
        return graph;
    }
    if (const auto start = file.empty() ? WarmStart::from_config(config) : std::nullopt)
        if (const auto kept = start->graph()) {
            auto graph = graph::read_graph(*kept);
            notes.push_back(fmt::format("graph of the weights it begins with, from {}: {} (system.input.graph names "
                                        "another)",
                                        kept->string(), count_text(graph)));
            return graph;
        }
    auto graph = graph::load_or_build(config.at("graph"), graph_inputs(), cache_folder());
    notes.push_back(fmt::format("graph: {}", count_text(graph)));
    if (!file.empty())
        graph::write_graph(graph, file);
    return graph;
}

at::Device choose_device(const Config& config, int local_rank)
{
    const auto wanted = config.get<std::string>("system.hardware.accelerator", "auto");
    const bool has_gpu = torch::cuda::is_available();
    if (wanted == "cpu" || (wanted == "auto" && !has_gpu))
        return at::kCPU;
    GRADWIND_CHECK(wanted == "auto" || wanted == "cuda" || wanted == "gpu", ConfigError,
                   "[train] expected auto, cpu, cuda or gpu for {}, found `{}`",
                   config.at("system.hardware.accelerator").where(), wanted);
    const auto n_devices = int(torch::cuda::device_count());
    GRADWIND_CHECK(
        has_gpu && local_rank < n_devices, ConfigError,
        "[train] expected a GPU for process {} of this node, found {}; use system.hardware.accelerator=cpu, or "
        "a build with CUDA on a machine with enough GPUs",
        local_rank, n_devices);
    return {at::kCUDA, at::DeviceIndex(local_rank)};
}

parallel::Layout choose_layout(const Config& config, const parallel::Environment& environment,
                               std::vector<std::string>& notes)
{
    auto options = parallel::layout_from(config);
    const int configured = options.nodes * options.gpus_per_node;
    if (configured != environment.world) {
        GRADWIND_CHECK(
            environment.launcher != parallel::Launcher::None, ConfigError,
            "[train] expected {} processes (system.hardware: {} nodes x {}), found 1; start them with --nproc, "
            "srun, torchrun or mpirun, or set system.hardware.num_nodes=1 "
            "system.hardware.num_gpus_per_node=1",
            configured, options.nodes, options.gpus_per_node);
        notes.push_back(
            fmt::format("{} processes as launched; system.hardware asks for {}", environment.world, configured));
        options.gpus_per_node = environment.local_world;
        options.nodes = environment.world / environment.local_world;
        options.read_group_size = std::min(options.read_group_size, options.gpus_per_model);
    }
    return parallel::Layout(options);
}

namespace
{

std::string hidden_name(const Config& config)
{
    return config.get<std::string>("model.model.hidden_nodes_name", "hidden");
}

/// Hidden and data nodes. Patches are even in the set that comes first: the processor does most of the work.
std::vector<const graph::NodeSet*> sets_to_cut(const Config& config, const graph::Graph& graph,
                                               std::span<const std::string> dataset_names)
{
    std::vector<std::string> names = {hidden_name(config)};
    names.insert(names.end(), dataset_names.begin(), dataset_names.end());
    std::vector<const graph::NodeSet*> sets;
    for (const auto& name : names)
        if (graph.has_nodes(name) && (sets.empty() || sets.front()->name != name))
            sets.push_back(&graph.node_set(name));
    return sets;
}

} // namespace

bool records_steps(const Config& config, at::Device device)
{
    return config.get<bool>("training.strategy.cuda_graphs", false) && device.is_cuda();
}

std::chrono::milliseconds timeout_of(const Config& config)
{
    return std::chrono::milliseconds(int64_t(1000 * config.get<double>("training.strategy.timeout_s", 600)));
}

std::chrono::milliseconds patience_of(const Config& config)
{
    return 3 * timeout_of(config);
}

parallel::PartitionKind partition_kind(const Config& config, const graph::Graph& graph, int n_parts)
{
    using parallel::PartitionKind;
    const auto wanted = config.get<std::string>("training.strategy.partition", "contiguous");
    const auto hidden = hidden_name(config);
    const auto* edges = graph.edge_set(hidden, hidden);
    if (wanted != "auto" || !edges)
        return wanted == "bisection" ? PartitionKind::Bisection : PartitionKind::Contiguous;
    const auto patches = parallel::bisection(sets_to_cut(config, graph, config.at("data.datasets").keys()), n_parts);
    for (const auto& set : patches)
        for (const auto size : set.sizes())
            if (size == 0)
                return PartitionKind::Contiguous; // a limited area, say, of which some patch has nothing
    const auto worst = [&](const parallel::Partition& cut) {
        return parallel::count_halo(cut, cut, edges->src, edges->dst).worst_halo();
    };
    const auto ranges = parallel::Partition::contiguous(graph.node_set(hidden).size(), n_parts);
    return worst(patches.front()) < worst(ranges) ? PartitionKind::Bisection : PartitionKind::Contiguous;
}

std::map<std::string, parallel::Partition> cut_nodes(const Config& config, const graph::Graph& graph,
                                                     std::span<const std::string> dataset_names,
                                                     parallel::PartitionKind kind, int n_parts)
{
    const auto sets = sets_to_cut(config, graph, dataset_names);
    auto cut = parallel::make_partitions(kind, sets, n_parts);
    std::map<std::string, parallel::Partition> result;
    for (size_t i = 0; i < sets.size(); ++i)
        result.emplace(sets[i]->name, std::move(cut[i]));
    return result;
}

parallel::Sharding share_nodes(const Config& config, const graph::Graph& graph,
                               std::span<const std::string> dataset_names, const parallel::Group& group)
{
    if (group.size() == 1)
        return {};
    const auto kind = partition_kind(config, graph, group.size());
    return {.group = group, .nodes = cut_nodes(config, graph, dataset_names, kind, group.size())};
}

std::shared_ptr<model::SeveralDatasetsModel> make_model(const Config& config, const TrainSettings& settings,
                                                        const graph::Graph& graph,
                                                        const std::vector<model::FurtherDataset>& datasets,
                                                        const parallel::Sharding& sharding)
{
    const auto& first = datasets.at(0);
    auto model = model::build_model(config.at("model"),
                                    {.graph = graph,
                                     .variables = first.variables,
                                     .statistics = first.statistics,
                                     .n_step_input = settings.task.n_step_input,
                                     .n_step_output = settings.task.n_step_output,
                                     .dataset_name = first.name,
                                     .sharding = sharding},
                                    {datasets.begin() + 1, datasets.end()});
    model::initialise_weights(*model, derive_seed(settings.seed.value, SeedContext::Trainer));
    for (const auto& part : config.get<std::vector<std::string>>("training.submodules_to_freeze", {}))
        model::freeze_part(*model, part);
    return model;
}

NamedTensors state_of(const model::ForecastModel& model)
{
    const auto state = model::named_state(model);
    return {state.begin(), state.end()};
}

at::ScalarType dtype_of(Precision precision)
{
    return precision == Precision::Float64 ? at::kDouble : at::kFloat;
}

} // namespace gradwind::train
