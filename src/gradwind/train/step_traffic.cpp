// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/step_traffic.h"

#include "gradwind/core/error.h"
#include "gradwind/data/decode_tally.h"
#include "gradwind/model/options.h"
#include "gradwind/model/residual.h"
#include "gradwind/parallel/interior.h"
#include "gradwind/parallel/window_plan.h"
#include "gradwind/train/batch_check.h"
#include "gradwind/train/cell_reader.h"
#include "gradwind/train/job_outline.h"
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

// By heads, keys and values go from rows to heads, queries too and results back; gradients the other way round.

int64_t PartTraffic::forward_elements(int rank) const
{
    const auto& own = rows.parts[size_t(rank)];
    if (work.strategy != model::ShardStrategy::Heads)
        return own.n_send * work.columns * work.layers;
    const auto columns = own_columns(work, int(rows.parts.size()), rank);
    return ((2 * own.n_sources + own.n_destinations) * work.columns +
            total(rows, &parallel::HaloCount::Part::n_destinations) * columns) *
           work.layers;
}

int64_t PartTraffic::backward_elements(int rank) const
{
    using Part = parallel::HaloCount::Part;
    const auto& own = rows.parts[size_t(rank)];
    if (work.strategy != model::ShardStrategy::Heads)
        return own.n_halo * work.columns * work.layers;
    const auto columns = own_columns(work, int(rows.parts.size()), rank);
    return ((2 * total(rows, &Part::n_sources) + total(rows, &Part::n_destinations)) * columns +
            own.n_destinations * work.columns) *
           work.layers;
}

int64_t PartTraffic::elements(int rank) const
{
    return work.forward_runs * forward_elements(rank) + backward_elements(rank);
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

int64_t GroupTraffic::bytes_per_sample(int rank, const PassCost& cost) const
{
    int64_t bytes = 0;
    for (const auto& part : parts)
        bytes += part.of_fields ? cost.field_bytes * (cost.passes * part.forward_elements(rank) +
                                                      (cost.passes - 1) * part.backward_elements(rank))
                                : cost.element_bytes * cost.passes * part.elements(rank);
    return bytes;
}

int64_t GroupTraffic::forward_bytes_per_sample(int rank, const PassCost& cost) const
{
    int64_t bytes = 0;
    for (const auto& part : parts)
        bytes += (part.of_fields ? cost.field_bytes : cost.element_bytes) * cost.passes * part.forward_elements(rank);
    return bytes;
}

namespace
{

PartTraffic part_traffic(const model::ForecastModel::SharedPart& part, const graph::Graph& graph,
                         const std::map<std::string, parallel::Partition>& nodes)
{
    PartTraffic result{.part = part.name, .source = part.source, .target = part.target, .work = part.work, .rows = {}};
    const auto &sources = nodes.at(part.source), &destinations = nodes.at(part.target);
    const auto* edges = graph.edge_set(part.source, part.target);
    if (part.work.strategy == model::ShardStrategy::Sequence) {
        result.rows = parallel::count_window_halo(sources, destinations, part.work.window);
    } else if (part.work.strategy == model::ShardStrategy::Edges && part.work.layers > 0 && edges) {
        result.rows = parallel::count_halo(sources, destinations, edges->src, edges->dst);
        const auto interior = parallel::count_interior(sources, destinations, edges->src, edges->dst);
        result.interior_share = parallel::least_interior_share(interior, destinations);
    } else {
        result.rows = parallel::count_rows(sources, destinations);
    }
    return result;
}

/// Where a step of this configuration would run, as far as this machine has it, and the type of its activations.
at::Tensor tensor_like(const Config& config, const TrainSettings& settings)
{
    const bool on_gpu =
        config.get<std::string>("system.hardware.accelerator", "auto") != "cpu" && torch::cuda::is_available();
    return at::empty({0}, at::device(on_gpu ? at::kCUDA : at::kCPU).dtype(dtype_of(settings.precision)));
}

GroupTraffic group_traffic(const JobOutline& job, parallel::PartitionKind partition, int model_size)
{
    GroupTraffic result{.partition = partition,
                        .is_chosen = partition == partition_kind(job.config, job.graph, model_size),
                        .parts = {}};
    // A shared model has one data set.
    const auto& name = job.settings.dataset_names.front();
    const auto nodes = cut_nodes(job.config, job.graph, job.settings.dataset_names, partition, model_size);
    for (const auto& [set, cut] : nodes) {
        const auto sizes = cut.sizes();
        result.imbalance[set] =
            double(*std::max_element(sizes.begin(), sizes.end())) * model_size / double(cut.n_rows());
    }
    const auto like = tensor_like(job.config, job.settings);
    const AutocastGuard autocast(autocast_for(job.settings.precision, like.device()));
    try {
        for (const auto& part : job.model->shared_parts(nodes, like))
            result.parts.push_back(part_traffic(part, job.graph, nodes));
        const auto residual = model::find_for_dataset(job.config.at("model"), "residual", name);
        for (auto& rows : model::residual_exchanges(residual, nodes.at(name), {.graph = job.graph}))
            result.parts.push_back({.part = "residual",
                                    .source = name,
                                    .target = name,
                                    .work = {.columns = job.datasets.front().variables.n_input(), .layers = 1},
                                    .rows = std::move(rows),
                                    .of_fields = true});
    } catch (const ConfigError& error) {
        result.refusal = error.what();
    }
    return result;
}

/// Ranks that share the optimiser's state add up the squares of their parts: a number in double.
void add_norm(parallel::ExchangeBudget& exchange, at::Device device)
{
    auto& calls = exchange.dense.calls;
    if (std::none_of(calls.begin(), calls.end(), [](const auto& call) { return call.group == "zero"; }))
        return;
    const auto verb = device.is_cpu() ? parallel::Verb::AllGather : parallel::Verb::AllReduce;
    auto found = std::find_if(calls.begin(), calls.end(),
                              [&](const auto& call) { return call.group == "zero" && call.verb == verb; });
    if (found == calls.end())
        found = calls.insert(calls.end(), {"zero", verb, 0, 0});
    ++found->calls;
    found->bytes += int64_t(sizeof(double));
}

} // namespace

StepTraffic predict_step_traffic(const JobOutline& job, const parallel::Layout& layout)
{
    StepTraffic result;
    const auto parameters = trainable_parameters(*job.model);
    for (const auto& parameter : parameters)
        result.parameters += parameter.tensor.numel();
    const auto options = engine_options(job.config, layout, {});
    result.exchange = parallel::exchange_budget(parameters, options, layout.world());
    add_norm(result.exchange, tensor_like(job.config, job.settings).device());
    const auto stored = int64_t(parameters.front().tensor.element_size());
    const auto elements = result.exchange.gradients / stored;
    result.gradient_bytes = elements * (options.wire == parallel::WireType::Bf16 ? 2 : stored);
    result.gradient_calls = result.exchange.buckets;
    result.moment_bytes = 2 * result.exchange.owned * stored;
    result.first_step_bytes = result.exchange.parameters + result.exchange.gradients;
    const int model_size = layout.model_size();
    if (model_size == 1 && job.config.get<bool>("training.strategy.broadcast_buffers", false))
        for (const auto& buffer : job.model->buffers())
            result.buffer_bytes += int64_t(buffer.nbytes());
    const auto precision = job.settings.precision;
    const bool is_double = precision == Precision::Float64;
    result.cost = {.element_bytes = is_double                           ? 8
                                    : precision == Precision::Bf16Mixed ? 2
                                                                        : 4,
                   .field_bytes = is_double ? 8 : 4,
                   .passes = job.settings.task.rollout.at(0)};
    if (model_size > 1)
        for (const auto kind : {parallel::PartitionKind::Contiguous, parallel::PartitionKind::Bisection})
            result.groups.push_back(group_traffic(job, kind, model_size));
    return result;
}

namespace
{

int64_t busiest(const std::shared_ptr<const data::Dataset>& dataset, std::span<const data::CellRanges> parts)
{
    int64_t bytes = 0;
    for (const auto& tally : data::decode_one_date(dataset, parts))
        bytes = std::max(bytes, tally.bytes);
    return bytes;
}

int64_t count_inside(const data::CellRanges& ranges, const std::vector<int64_t>& cells)
{
    int64_t count = 0;
    for (const auto& range : ranges.parts())
        count += std::lower_bound(cells.begin(), cells.end(), range.end) -
                 std::lower_bound(cells.begin(), cells.end(), range.begin);
    return count;
}

/// Cells that each reader hands over where it reads these and works on those: every cell once for each that wants it.
std::vector<int64_t> count_handed_over(std::span<const data::CellRanges> read, OwnCells own)
{
    std::vector<int64_t> result(own.size(), 0);
    const auto is_own = [&](size_t rank) {
        const auto n_own = int64_t(own[rank].size());
        return read[rank].count() == n_own && count_inside(read[rank], own[rank]) == n_own;
    };
    bool all_own = true;
    for (size_t rank = 0; rank < own.size(); ++rank)
        all_own = all_own && is_own(rank);
    for (size_t rank = 0; rank < own.size() && !all_own; ++rank)
        for (const auto& theirs : own)
            result[rank] += count_inside(read[rank], theirs);
    return result;
}

/// The plan for one data set.
ReadingPlan predict_reading(const std::shared_ptr<const data::Dataset>& dataset, const parallel::Layout& layout,
                            const parallel::Partition& partition, int rank)
{
    const auto n_cells = dataset->n_cells();
    const auto place = layout.place(rank);
    const auto readers = layout.subgroup_size() > 1 ? layout.ensemble_ranks(place.ensemble_id)
                                                    : layout.reader_ranks(place.model_id, place.reader_id);
    std::vector<std::vector<int64_t>> own;
    for (const int reader : readers) {
        const auto rows = partition.rows(layout.place(reader).model_rank);
        own.emplace_back(rows.begin(), rows.end());
    }
    const auto whole = data::decode_one_date(dataset, std::array{data::CellRanges(0, n_cells)}).front();
    auto parts = own_parts(own);
    ReadingPlan plan{.n_readers = int(readers.size()),
                     .whole_bytes = whole.bytes,
                     .own_bytes = busiest(dataset, parts),
                     .range_bytes = 0,
                     .reads_ranges = false,
                     .block_bytes = whole.block_bytes,
                     .field_bytes = n_cells * int64_t(sizeof(float))};
    if (!are_ranges(parts)) {
        auto ranges = equal_ranges(n_cells, plan.n_readers);
        plan.range_bytes = busiest(dataset, ranges);
        plan.reads_ranges = plan.n_readers > 1 && !prefers_own_parts(plan.own_bytes, plan.range_bytes);
        if (plan.reads_ranges)
            parts = std::move(ranges);
    }
    plan.handed_over = count_handed_over(parts, own);
    return plan;
}

} // namespace

ReadingPlan predict_reading(const Stage& stage, const parallel::Layout& layout,
                            std::span<const parallel::Partition> partitions, int rank)
{
    ReadingPlan all;
    for (size_t i = 0; i < stage.parts().size(); ++i) {
        auto own = predict_reading(stage.parts()[i].dataset, layout, partitions[i], rank);
        if (i == 0) {
            all = std::move(own);
            continue;
        }
        all.whole_bytes += own.whole_bytes;
        all.own_bytes += own.own_bytes;
        all.range_bytes += own.range_bytes;
        all.reads_ranges = all.reads_ranges || own.reads_ranges;
        all.block_bytes = std::max(all.block_bytes, own.block_bytes);
        all.field_bytes = std::max(all.field_bytes, own.field_bytes);
    }
    return all;
}

} // namespace gradwind::train
