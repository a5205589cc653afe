// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/job.h"

#include "gradwind/core/error.h"
#include "gradwind/train/job_outline.h"
#include "gradwind/train/losses.h"
#include "gradwind/train/numpy_random.h"
#include "gradwind/train/reference.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>

#include <algorithm>
#include <array>

namespace gradwind::train
{

namespace
{

/// The root of a part is no part of the root: such a value would change with the number of processes.
void require_additive(const Job& job)
{
    const auto world = job.groups.layout.world();
    GRADWIND_CHECK(
        job.loss->additive() || (world == 1 && job.settings.accumulation == 1), ConfigError,
        "[train] {}: the loss takes a root, which does not add up over processes or accumulated batches, found {} "
        "processes and accumulation {}; use MSELoss, or one process without accumulation",
        job.config.at("training.training_loss").where(), world, job.settings.accumulation);
    for (const auto& metric : job.metrics)
        GRADWIND_CHECK(
            metric.loss->additive() || world == 1, ConfigError,
            "[train] metric `{}` of {} takes a root, which does not add up over processes, found {}; use MSELoss "
            "(the log has root-mean-square errors by variable beside it), or one process",
            metric.name, job.config.at("training.validation_metrics").where(), world);
}

void build_losses(Job& job, const graph::Graph& graph)
{
    auto losses = make_losses(job.config, job.settings, *job.training, job.variables, job.statistics, graph);
    job.loss = std::move(losses.loss);
    job.metrics = std::move(losses.metrics);
    job.ranges = std::move(losses.ranges);
    require_additive(job);
}

/// Builds the graph on one process of each node first, so that the others find it in the cache.
graph::Graph shared_graph(const Config& config, const parallel::Environment& environment, const parallel::Group& world,
                          std::vector<std::string>& notes)
{
    graph::Graph graph;
    if (environment.local_rank == 0)
        graph = obtain_graph(config, notes);
    parallel::meet(world, "the graph", patience_of(config));
    if (environment.local_rank != 0)
        graph = obtain_graph(config, notes);
    return graph;
}

void set_deterministic(const TrainSettings& settings)
{
    at::globalContext().setDeterministicAlgorithms(settings.deterministic, false);
    at::globalContext().setDeterministicCuDNN(settings.deterministic);
}

/// How the processes of a reader group, or of an ensemble whose members see the same samples, read one between them.
std::shared_ptr<const CellReader> cell_reader(const Job& job, const std::shared_ptr<const data::Dataset>& dataset)
{
    const auto& groups = job.groups;
    const auto& readers = groups.subgroup.size() > 1 ? groups.ensemble : groups.reader;
    std::vector<std::vector<int64_t>> own;
    for (const int rank : readers.members()) {
        const auto rows = job.share->partition.rows(groups.layout.place(rank).model_rank);
        own.emplace_back(rows.begin(), rows.end());
    }
    return std::make_shared<CellReader>(readers, dataset, own);
}

} // namespace

Job make_job(const Config& config, const parallel::Environment& environment, const parallel::Variables& variables,
             std::vector<std::string>& notes)
{
    auto settings = TrainSettings::from_config(config, variables);
    const auto layout = choose_layout(config, environment, notes);
    const auto mask = config.find(fmt::format("model.output_mask.datasets.{}.attribute_name", settings.dataset_name));
    GRADWIND_CHECK(!mask || mask->is_null(), ConfigError,
                   "[train] {}: training with an output mask is not there yet; leave it out or use NoOutputMask",
                   mask->where());
    const auto device = choose_device(config, environment.local_rank);
    if (device.is_cpu() && settings.precision == Precision::Bf16Mixed) {
        settings.precision = Precision::Float32;
        notes.emplace_back("training.precision: bf16-mixed needs a GPU, this run computes in 32-true");
    }
    const auto world = parallel::connect_world(
        environment, {.backend = device.is_cuda() ? parallel::BackendKind::Nccl : parallel::BackendKind::Gloo,
                      .timeout = timeout_of(config),
                      .start_patience = patience_of(config)});
    Job job{.config = config,
            .settings = std::move(settings),
            .groups = parallel::make_groups(layout, world),
            .sharding = {},
            .share = nullptr,
            .members = nullptr,
            .device = device,
            .dtype = at::kFloat,
            .training = nullptr,
            .validation = nullptr,
            .training_cells = nullptr,
            .validation_cells = nullptr,
            .variables = {},
            .statistics = {},
            .processors = nullptr,
            .model = nullptr,
            .loss = nullptr,
            .metrics = {},
            .ranges = {}};
    job.members = std::make_shared<parallel::MemberExchange>(job.groups.subgroup);
    job.dtype = dtype_of(job.settings.precision);
    GRADWIND_CHECK(
        job.dtype != at::kDouble || device.is_cpu(), ConfigError,
        "[train] expected a CPU for training.precision=64-true, found {}; set system.hardware.accelerator=cpu",
        device.str());
    set_deterministic(job.settings);
    const auto& name = job.settings.dataset_name;
    job.training = open_stage(config, "training", name);
    if (has_validation(config, name))
        job.validation = open_stage(config, "validation", name);
    job.variables = variable_table(config, name, *job.training);
    job.statistics = job.training->statistics();
    job.processors = std::make_unique<model::Processors>(model::build_processors(
        config.find("data.datasets." + name + ".processors").value_or(Config()), {job.variables, job.statistics}));
    notes.insert(notes.end(), job.processors->notes().begin(), job.processors->notes().end());

    GRADWIND_CHECK(job.training->n_cells() > 0, ConfigError,
                   "[train] the options of data set `{}` leave no cell of it; check area, thinning and trim_edge",
                   name);
    const auto graph = shared_graph(config, environment, world, notes);
    GRADWIND_CHECK(
        graph.node_set(name).size() == job.training->n_cells(), ConfigError,
        "[train] expected a graph with the {} cells of the data set as nodes `{}`, found {}; the graph is of "
        "another data set or of other options (area, thinning)",
        job.training->n_cells(), name, graph.node_set(name).size());
    build_losses(job, graph);
    job.sharding = share_nodes(config, graph, name, job.groups.model);
    job.share = std::make_shared<loss::GridShare>(loss::GridShare{
        job.groups.model, job.sharding.partition(name, job.training->n_cells()), job.sharding.own_rows(name)});
    job.training_cells = cell_reader(job, job.training);
    if (job.validation)
        job.validation_cells = cell_reader(job, job.validation);
    job.model = make_model(config, job.settings, graph, job.variables, job.statistics, job.sharding);
    job.model->to(job.dtype);
    job.model->to(job.device);
    return job;
}

loss::LossContext Job::loss_context(const model::BatchMasks& masks) const
{
    loss::LossContext context;
    context.nan_mask = masks.loss_mask;
    context.share = share;
    context.members = members;
    return context;
}

uint64_t noise_key(uint64_t base_seed, NoisePurpose purpose)
{
    const auto word = [&](uint32_t part) {
        const std::array<uint32_t, 2> keys = {uint32_t(purpose), part};
        return uint64_t(derive_seed(base_seed, SeedContext::Noise, keys));
    };
    return word(1) << 32 | word(0);
}

model::CounterNoise Job::noise(NoisePurpose purpose, int64_t step, std::vector<int64_t> samples) const
{
    return model::CounterNoise({.key = noise_key(settings.seed.value, purpose),
                                .step = step,
                                .samples = std::move(samples),
                                .first_member = groups.subgroup.rank() * settings.members_per_process});
}

Reference reference_of(const Job& job)
{
    return reference_of(job.settings, job.groups.layout);
}

Reference reference_of(const TrainSettings& settings, const parallel::Layout& layout)
{
    const auto n_replicas = int64_t(layout.replicas());
    return {.effective_lr =
                effective_lr(settings.schedule.lr, settings.lr_scaling, layout.world(), layout.ensemble_size()),
            .effective_batch = settings.training.batch_size * n_replicas * settings.accumulation,
            .effective_validation_batch = settings.validation.batch_size * n_replicas,
            .n_replicas = n_replicas};
}

SamplerOptions sampler_options(const Job& job, const Reference& reference, const StageSettings& stage)
{
    const auto place = job.groups.layout.place(job.groups.world.rank());
    const bool is_training = stage.name == "training";
    return {.order = job.settings.sample_order,
            .shuffle = is_training ? Shuffle::Yes : Shuffle::No,
            .stream = job.settings.stream,
            .base_seed = job.settings.seed.value,
            .batch_size = stage.batch_size,
            .effective_batch = is_training ? reference.effective_batch : reference.effective_validation_batch,
            .accumulation = is_training ? job.settings.accumulation : 1,
            .n_replicas = job.groups.layout.replicas(),
            .replica = place.replica,
            .n_workers = stage.n_workers,
            .limit = stage.limit};
}

} // namespace gradwind::train
