// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/step_traffic.h"

#include "gradwind/core/error.h"
#include "gradwind/data/decode_tally.h"
#include "gradwind/parallel/window_plan.h"
#include "gradwind/train/batch_check.h"
#include "gradwind/train/cell_reader.h"
#include "gradwind/train/setup.h"
#include "gradwind/train/step_runner.h"

#include <ATen/ATen.h>
#include <torch/cuda.h>

#include <algorithm>
#include <array>

namespace gradwind::train
{

namespace
{

/// Columns of a rank's heads.
int64_t own_columns(const model::SharedWork& work, int n_ranks, int rank)
{
    return parallel::balanced_span(work.heads, n_ranks, rank).size * (work.columns / work.heads);
}

int64_t total(const parallel::HaloCount& rows, int64_t parallel::HaloCount::Part::*count)
{
    int64_t sum = 0;
    for (const auto& part : rows.parts)
        sum += part.*count;
    return sum;
}

} // namespace

int64_t PartTraffic::elements(int rank) const
{
    using Part = parallel::HaloCount::Part;
    const auto& own = rows.parts[size_t(rank)];
    if (work.strategy != model::ShardStrategy::Heads)
        return (own.n_send * work.forward_runs + own.n_halo) * work.columns * work.layers;
    // Keys and values go from rows to heads, queries too and results back; gradients the other way round.
    const auto by_rows = [&](int64_t sources, int64_t destinations) {
        return (2 * sources + destinations) * work.columns;
    };
    const auto columns = own_columns(work, int(rows.parts.size()), rank);
    const auto all_sources = total(rows, &Part::n_sources), all_destinations = total(rows, &Part::n_destinations);
    const auto forward = by_rows(own.n_sources, own.n_destinations) + all_destinations * columns;
    const auto backward = (2 * all_sources + all_destinations) * columns + own.n_destinations * work.columns;
    return (work.forward_runs * forward + backward) * work.layers;
}

int64_t PartTraffic::received_elements(int rank) const
{
    using Part = parallel::HaloCount::Part;
    const auto& own = rows.parts[size_t(rank)];
    if (work.layers == 0)
        return 0;
    if (work.strategy != model::ShardStrategy::Heads)
        return own.n_halo * work.columns;
    const auto columns = own_columns(work, int(rows.parts.size()), rank);
    const auto sources = total(rows, &Part::n_sources) - own.n_sources;
    const auto destinations = total(rows, &Part::n_destinations) - own.n_destinations;
    return (2 * sources + destinations) * columns + own.n_destinations * (work.columns - columns);
}

int64_t GroupTraffic::bytes_per_sample(int rank, int64_t element_bytes) const
{
    int64_t elements = 0;
    for (const auto& part : parts)
        elements += part.elements(rank);
    return elements * element_bytes;
}

namespace
{

/// The rows that travel for a part.
parallel::HaloCount count_rows_of(const model::ForecastModel::SharedPart& part, const graph::Graph& graph,
                                  const std::map<std::string, parallel::Partition>& nodes)
{
    const auto &sources = nodes.at(part.source), &destinations = nodes.at(part.target);
    const auto* edges = graph.edge_set(part.source, part.target);
    if (part.work.strategy == model::ShardStrategy::Sequence)
        return parallel::count_window_halo(sources, destinations, part.work.window);
    if (part.work.strategy == model::ShardStrategy::Edges && part.work.layers > 0 && edges)
        return parallel::count_halo(sources, destinations, edges->src, edges->dst);
    return parallel::count_rows(sources, destinations);
}

/// Where a step of this configuration would run, as far as this machine has it, and the type of its activations.
at::Tensor tensor_like(const Config& config, const TrainSettings& settings)
{
    const bool on_gpu =
        config.get<std::string>("system.hardware.accelerator", "auto") != "cpu" && torch::cuda::is_available();
    return at::empty({0}, at::device(on_gpu ? at::kCUDA : at::kCPU).dtype(dtype_of(settings.precision)));
}

GroupTraffic group_traffic(const Config& config, const graph::Graph& graph, const TrainSettings& settings,
                           const model::ForecastModel& model, parallel::PartitionKind partition, int model_size)
{
    GroupTraffic result{
        .partition = partition, .is_chosen = partition == partition_kind(config, graph, model_size), .parts = {}};
    const auto nodes = cut_nodes(config, graph, settings.dataset_name, partition, model_size);
    for (const auto& [name, cut] : nodes) {
        const auto sizes = cut.sizes();
        result.imbalance[name] =
            double(*std::max_element(sizes.begin(), sizes.end())) * model_size / double(cut.n_rows());
    }
    const auto like = tensor_like(config, settings);
    const AutocastGuard autocast(autocast_for(settings.precision, like.device()));
    try {
        for (const auto& part : model.shared_parts(nodes, like))
            result.parts.push_back({part.name, part.source, part.target, part.work, count_rows_of(part, graph, nodes)});
    } catch (const ConfigError& error) {
        result.refusal = error.what();
    }
    return result;
}

} // namespace

StepTraffic predict_step_traffic(const Config& config, int model_size)
{
    const auto settings = TrainSettings::from_config(config, parallel::process_variables());
    const auto dataset = open_stage(config, "training", settings.dataset_name);
    const auto variables = variable_table(config, settings.dataset_name, *dataset);
    std::vector<std::string> notes;
    const auto graph = obtain_graph(config, notes);
    const auto model = make_model(config, settings, graph, variables, dataset->statistics());
    model->to(dtype_of(settings.precision));
    StepTraffic result;
    auto parameters = trainable_parameters(*model);
    for (const auto& parameter : parameters)
        result.parameters += parameter.tensor.numel();
    const parallel::GradientEngine engine(std::move(parameters), parallel::Group::self(), engine_options(config, {}));
    const auto gradients = engine.flat_gradients();
    result.gradient_bytes = gradients.numel() * int64_t(gradients.element_size());
    result.gradient_calls = int64_t(engine.bucket_ends().size());
    result.element_bytes = settings.precision == Precision::Float64     ? 8
                           : settings.precision == Precision::Bf16Mixed ? 2
                                                                        : 4;
    result.passes = settings.task.rollout.at(0);
    if (model_size > 1)
        for (const auto kind : {parallel::PartitionKind::Contiguous, parallel::PartitionKind::Bisection})
            result.groups.push_back(group_traffic(config, graph, settings, *model, kind, model_size));
    return result;
}

namespace
{

/// The cells of every process of a model group.
parallel::Partition cut_cells(const Config& config, const std::string& dataset_name, int64_t n_cells, int n_parts)
{
    if (n_parts == 1 || config.get<std::string>("training.strategy.partition", "contiguous") == "contiguous")
        return parallel::Partition::contiguous(n_cells, n_parts);
    std::vector<std::string> notes;
    const auto graph = obtain_graph(config, notes);
    return cut_nodes(config, graph, dataset_name, partition_kind(config, graph, n_parts), n_parts).at(dataset_name);
}

int64_t busiest(const std::shared_ptr<const data::Dataset>& dataset, std::span<const data::CellRanges> parts)
{
    int64_t bytes = 0;
    for (const auto& tally : data::decode_one_date(dataset, parts))
        bytes = std::max(bytes, tally.bytes);
    return bytes;
}

} // namespace

ReadingPlan predict_reading(const Config& config, const parallel::Layout& layout)
{
    const auto name = config.at("data.datasets").keys().at(0);
    const auto dataset = open_stage(config, "training", name);
    const auto n_cells = dataset->n_cells();
    const auto partition = cut_cells(config, name, n_cells, layout.model_size());
    // Reader groups of a model group are alike: the first one stands for all.
    const auto readers = layout.subgroup_size() > 1 ? layout.ensemble_ranks(0) : layout.reader_ranks(0, 0);
    std::vector<std::vector<int64_t>> own;
    for (const int rank : readers) {
        const auto rows = partition.rows(layout.place(rank).model_rank);
        own.emplace_back(rows.begin(), rows.end());
    }
    const auto whole = data::decode_one_date(dataset, std::array{data::CellRanges(0, n_cells)}).front();
    const auto parts = own_parts(own);
    ReadingPlan plan{.n_readers = int(readers.size()),
                     .whole_bytes = whole.bytes,
                     .own_bytes = busiest(dataset, parts),
                     .range_bytes = 0,
                     .reads_ranges = false,
                     .block_bytes = whole.block_bytes,
                     .field_bytes = n_cells * int64_t(sizeof(float))};
    if (!are_ranges(parts)) {
        plan.range_bytes = busiest(dataset, equal_ranges(n_cells, plan.n_readers));
        plan.reads_ranges = !prefers_own_parts(plan.own_bytes, plan.range_bytes);
    }
    return plan;
}

} // namespace gradwind::train
