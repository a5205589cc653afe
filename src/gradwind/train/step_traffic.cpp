// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/step_traffic.h"

#include "gradwind/data/cells.h"
#include "gradwind/data/decode_tally.h"
#include "gradwind/train/setup.h"
#include "gradwind/train/step_runner.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace gradwind::train
{

int64_t GroupTraffic::bytes_per_sample(int rank, int64_t element_bytes) const
{
    int64_t bytes = 0;
    for (const auto& part : parts) {
        const auto& own = part.halo.parts[size_t(rank)];
        bytes += (own.n_send + own.n_halo) * part.columns * part.exchanges * element_bytes;
    }
    return bytes;
}

namespace
{

GroupTraffic group_traffic(const Config& config, const graph::Graph& graph, const std::string& dataset_name,
                           const model::ForecastModel& model, parallel::PartitionKind partition, int model_size)
{
    GroupTraffic result{
        .partition = partition, .is_chosen = partition == partition_kind(config, graph, model_size), .parts = {}};
    const auto nodes = cut_nodes(config, graph, dataset_name, partition, model_size);
    for (const auto& [name, cut] : nodes) {
        const auto sizes = cut.sizes();
        result.imbalance[name] =
            double(*std::max_element(sizes.begin(), sizes.end())) * model_size / double(cut.n_rows());
    }
    for (const auto& part : model.shared_parts())
        if (const auto* edges = graph.edge_set(part.source, part.target))
            result.parts.push_back(
                {part.name, part.source, part.target, part.halo_columns, part.halo_exchanges,
                 parallel::count_halo(nodes.at(part.source), nodes.at(part.target), edges->src, edges->dst)});
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
            result.groups.push_back(group_traffic(config, graph, settings.dataset_name, *model, kind, model_size));
    return result;
}

ReadingPlan predict_reading(const Config& config, const parallel::Layout& layout)
{
    const auto dataset = open_stage(config, "training", config.at("data.datasets").keys().at(0));
    const auto n_cells = dataset->n_cells();
    std::vector<data::CellRanges> shares = {{0, n_cells}};
    for (int part = 0; part < layout.model_size(); ++part) {
        const auto span = parallel::balanced_span(n_cells, layout.model_size(), part);
        shares.emplace_back(span.begin, span.end());
    }
    const auto tallies = data::decode_one_date(dataset, shares);
    ReadingPlan plan{.whole_bytes = tallies[0].bytes,
                     .decoded_bytes = 0,
                     .block_bytes = tallies[0].block_bytes,
                     .field_bytes = n_cells * int64_t(sizeof(float))};
    for (size_t part = 1; part < tallies.size(); ++part)
        plan.decoded_bytes = std::max(plan.decoded_bytes, tallies[part].bytes);
    return plan;
}

} // namespace gradwind::train
