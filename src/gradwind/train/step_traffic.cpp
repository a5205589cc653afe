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

/// The exchanges of residuals: those of data sets that the model reads.
std::vector<PartTraffic> residual_traffic(const JobOutline& job,
                                          const std::map<std::string, parallel::Partition>& nodes)
{
    const auto section = job.config.at("model");
    std::vector<PartTraffic> result;
    for (const auto& encoder : model::find_mappers(section, "encoders", job.settings.dataset_names))
        for (const auto& name : encoder.datasets) {
            const auto dataset = std::find_if(job.datasets.begin(), job.datasets.end(),
                                              [&](const ModelDataset& other) { return other.name == name; });
            const auto residual = model::find_for_dataset(section, "residual", name);
            for (auto& rows : model::residual_exchanges(residual, nodes.at(name), {.graph = job.graph}))
                result.push_back({.part = "residual",
                                  .source = name,
                                  .target = name,
                                  .work = {.columns = dataset->variables.n_input(), .layers = 1},
                                  .rows = std::move(rows),
                                  .of_fields = true});
        }
    return result;
}

GroupTraffic group_traffic(const JobOutline& job, parallel::PartitionKind partition, int model_size)
{
    GroupTraffic result{.partition = partition,
                        .is_chosen = partition == partition_kind(job.config, job.graph, model_size),
                        .parts = {}};
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
        for (auto& part : residual_traffic(job, nodes))
            result.parts.push_back(std::move(part));
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
    const auto device = tensor_like(job.config, job.settings).device();
    const auto options = engine_options(job.config, layout, device, {});
    result.exchange = parallel::exchange_budget(parameters, options, layout.world());
    add_norm(result.exchange, device);
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

/// What reading each of some parts decodes.
std::vector<int64_t> decoded_by(const std::shared_ptr<const data::Dataset>& dataset,
                                std::span<const data::CellRanges> parts)
{
    std::vector<int64_t> bytes;
    for (const auto& tally : data::decode_one_date(dataset, parts))
        bytes.push_back(tally.bytes);
    return bytes;
}

int64_t most(const std::vector<int64_t>& values)
{
    return *std::max_element(values.begin(), values.end());
}

void add_to(std::vector<int64_t>& sums, const std::vector<int64_t>& values, int64_t times = 1)
{
    sums.resize(values.size(), 0);
    for (size_t i = 0; i < values.size(); ++i)
        sums[i] += times * values[i];
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

/// Bytes that each reader decodes, over the data sets.
struct DecodedBytes {
    std::vector<int64_t> if_own, as_read;
};

/// Adds a data set to the plan. @param own  cells of each reader
void add_reading(const std::shared_ptr<const data::Dataset>& dataset, OwnCells own, ReadingPlan& plan,
                 DecodedBytes& bytes)
{
    const auto n_cells = dataset->n_cells();
    const auto whole = data::decode_one_date(dataset, std::array{data::CellRanges(0, n_cells)}).front();
    plan.whole_bytes += whole.bytes;
    plan.block_bytes = std::max(plan.block_bytes, whole.block_bytes);
    plan.field_bytes = std::max(plan.field_bytes, n_cells * int64_t(sizeof(float)));
    auto parts = own_parts(own);
    auto decoded = decoded_by(dataset, parts);
    add_to(bytes.if_own, decoded);
    if (!are_ranges(parts) && plan.n_readers > 1) {
        auto ranges = equal_ranges(n_cells, plan.n_readers);
        auto of_ranges = decoded_by(dataset, ranges);
        if (!prefers_own_parts(most(decoded), most(of_ranges))) {
            plan.reads_ranges = true;
            parts = std::move(ranges);
            decoded = std::move(of_ranges);
        }
    }
    add_to(bytes.as_read, decoded);
    add_to(plan.handed_over, count_handed_over(parts, own), dataset->n_members() * dataset->n_variables());
}

} // namespace

ReadingPlan predict_reading(const Stage& stage, const parallel::Layout& layout,
                            std::span<const parallel::Partition> partitions, int rank)
{
    const auto place = layout.place(rank);
    const auto readers = layout.subgroup_size() > 1 ? layout.ensemble_ranks(place.ensemble_id)
                                                    : layout.reader_ranks(place.model_id, place.reader_id);
    ReadingPlan plan{.n_readers = int(readers.size())};
    DecodedBytes bytes;
    for (size_t i = 0; i < stage.parts().size(); ++i) {
        std::vector<std::vector<int64_t>> own;
        for (const int reader : readers) {
            const auto rows = partitions[i].rows(layout.place(reader).model_rank);
            own.emplace_back(rows.begin(), rows.end());
        }
        add_reading(stage.parts()[i].dataset, own, plan, bytes);
    }
    plan.own_bytes = most(bytes.if_own);
    plan.decoded_bytes = most(bytes.as_read);
    return plan;
}

} // namespace gradwind::train
