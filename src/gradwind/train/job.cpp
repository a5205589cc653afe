// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/job.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/recorded_work.h"
#include "gradwind/train/losses.h"
#include "gradwind/train/numpy_random.h"
#include "gradwind/train/output_mask.h"
#include "gradwind/train/reference.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstdlib>

namespace gradwind::train
{

namespace
{

/// The root of a part is no part of the root: such a value would change with the number of processes.
void require_additive(const Job& job)
{
    const auto world = job.groups.layout.world();
    GRADWIND_CHECK(
        job.additive() || (world == 1 && job.settings.accumulation == 1), ConfigError,
        "[train] {}: the loss takes a root, which does not add up over processes or accumulated batches, found {} "
        "processes and accumulation {}; use MSELoss, or one process without accumulation",
        job.config.at("training.training_loss").where(), world, job.settings.accumulation);
    for (const auto& losses : job.losses)
        for (const auto& metric : losses.metrics)
            GRADWIND_CHECK(
                metric.loss->additive() || world == 1, ConfigError,
                "[train] metric `{}` of {} takes a root, which does not add up over processes, found {}; use MSELoss "
                "(the log has root-mean-square errors by variable beside it), or one process",
                metric.name, job.config.at("training.validation_metrics").where(), world);
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

/// Before threads begin, which may read the environment.
void set_deterministic(const TrainSettings& settings)
{
    // What torch asks for where products of matrices on a GPU are to be deterministic. A user's own value stays.
    if (settings.deterministic)
        (void)::setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", 0);
    at::globalContext().setDeterministicAlgorithms(settings.deterministic, false);
    at::globalContext().setDeterministicCuDNN(settings.deterministic);
}

/// How the processes of a reader group, or of an ensemble whose members see the same samples, read one between them.
std::shared_ptr<const CellReader> cell_reader(const Job& job, const loss::GridShare& share,
                                              const std::shared_ptr<const data::Dataset>& dataset)
{
    const auto& groups = job.groups;
    const auto& readers = groups.subgroup.size() > 1 ? groups.ensemble : groups.reader;
    std::vector<std::vector<int64_t>> own;
    for (const int rank : readers.members()) {
        const auto rows = share.partition.rows(groups.layout.place(rank).model_rank);
        own.emplace_back(rows.begin(), rows.end());
    }
    return std::make_shared<CellReader>(readers, dataset, own);
}

/// The nodes of this process that keep their predictions, by data set.
std::vector<at::Tensor> own_insides(const Job& job, const graph::Graph& graph)
{
    std::vector<at::Tensor> insides;
    for (size_t i = 0; i < job.datasets.size(); ++i) {
        auto inside = output_mask(job.config.at("model"), graph, job.datasets[i].name);
        if (inside.defined())
            inside = job.shares[i]->rows.of(inside).to(job.device);
        insides.push_back(std::move(inside));
    }
    return insides;
}

/// Opens the data sets and their processing.
void open_datasets(Job& job, std::vector<std::string>& notes)
{
    const auto& names = job.settings.dataset_names;
    job.training = open_stage(job.config, "training", names);
    job.validation = open_validation(job.config, names);
    for (const auto& part : job.training->parts()) {
        job.datasets.push_back(model_dataset(job.config, part.name, *part.dataset));
        const auto& own = job.datasets.back().processors.notes();
        notes.insert(notes.end(), own.begin(), own.end());
        GRADWIND_CHECK(part.dataset->n_cells() > 0, ConfigError,
                       "[train] the options of data set `{}` leave no cell of it; check area, thinning and trim_edge",
                       part.name);
    }
    if (names.size() > 1) {
        const auto relative =
            job.settings.task.relative_indices(job.training->frequency_s(), job.settings.task.rollout.at(0));
        notes.push_back(fmt::format("{} data sets ({}) with {} samples at the same dates", names.size(),
                                    fmt::join(names, ", "), job.training->anchors(relative).size()));
    }
}

/// Every data set has the nodes of its name.
void require_nodes(const Stage& training, const graph::Graph& graph)
{
    for (const auto& [name, dataset, shift, cells] : training.parts()) {
        GRADWIND_CHECK(graph.has_nodes(name), ConfigError,
                       "[train] expected nodes `{}` in the graph for the data set of that name, found none; add "
                       "graph.nodes.{}, or take the graph that was made for these data sets",
                       name, name);
        GRADWIND_CHECK(
            graph.node_set(name).size() == dataset->n_cells(), ConfigError,
            "[train] expected a graph with the {} cells of the data set as nodes `{}`, found {}; the graph is of "
            "another data set or of other options (area, thinning)",
            dataset->n_cells(), name, graph.node_set(name).size());
    }
}

/// Which cells this process works on and which it reads.
void share_cells(Job& job, const graph::Graph& graph)
{
    job.sharding = share_nodes(job.config, graph, job.settings.dataset_names, job.groups.model);
    for (const auto& part : job.training->parts())
        job.shares.push_back(std::make_shared<loss::GridShare>(
            loss::GridShare{job.groups.model, job.sharding.partition(part.name, part.dataset->n_cells()),
                            job.sharding.own_rows(part.name)}));
    for (auto* stage : {&job.training, &job.validation})
        if (*stage)
            for (size_t i = 0; i < (*stage)->parts().size(); ++i)
                (*stage)->parts()[i].cells = cell_reader(job, *job.shares[i], (*stage)->parts()[i].dataset);
}

} // namespace

Job make_job(const Config& config, const parallel::Environment& environment, const parallel::Variables& variables,
             std::vector<std::string>& notes)
{
    auto settings = TrainSettings::from_config(config, variables);
    const auto layout = choose_layout(config, environment, notes);
    (void)measured_datasets(config, settings); // refuses before anything is built
    const auto device = choose_device(config, environment.local_rank);
    if (device.is_cpu() && settings.precision == Precision::Bf16Mixed) {
        settings.precision = Precision::Float32;
        notes.emplace_back("training.precision: bf16-mixed needs a GPU, this run computes in 32-true");
    }
    if (records_steps(config, device))
        parallel::compute_beside_default_stream(device);
    else if (config.get<bool>("training.strategy.cuda_graphs", false))
        notes.emplace_back("training.strategy.cuda_graphs needs a GPU, this run starts its steps piece by piece");
    set_deterministic(settings);
    const auto world = parallel::connect_world(
        environment, {.backend = device.is_cuda() ? parallel::BackendKind::Nccl : parallel::BackendKind::Gloo,
                      .timeout = timeout_of(config),
                      .start_patience = patience_of(config)});
    Job job{.config = config, .settings = std::move(settings), .groups = parallel::make_groups(layout, world)};
    job.members = std::make_shared<parallel::MemberExchange>(job.groups.subgroup);
    job.device = device;
    job.dtype = dtype_of(job.settings.precision);
    GRADWIND_CHECK(
        job.dtype != at::kDouble || device.is_cpu(), ConfigError,
        "[train] expected a CPU for training.precision=64-true, found {}; set system.hardware.accelerator=cpu",
        device.str());
    open_datasets(job, notes);
    const auto graph = shared_graph(config, environment, world, notes);
    require_nodes(*job.training, graph);
    job.losses = make_losses(config, job.settings, *job.training, job.datasets, graph);
    require_additive(job);
    share_cells(job, graph);
    job.insides = own_insides(job, graph);
    job.model = make_model(config, job.settings, graph, for_model(job.datasets), job.sharding);
    job.model->to(job.dtype);
    job.model->to(job.device);
    return job;
}

bool Job::additive() const
{
    return std::all_of(losses.begin(), losses.end(), [](const auto& own) { return !own.loss || own.loss->additive(); });
}

std::vector<RolloutDataset> Job::prepare(const Stage& stage, std::vector<at::Tensor>& values,
                                         std::optional<double> samples, std::vector<model::BatchMasks>& masks) const
{
    std::vector<RolloutDataset> result;
    masks.clear();
    for (size_t i = 0; i < datasets.size(); ++i) {
        const auto& dataset = datasets[i];
        values[i] = stage.parts()[i].cells->own(values[i]);
        masks.push_back(dataset.processors.transform(values[i], model::Space::Dataset));
        auto context = loss_context(i, masks.back());
        context.samples = samples;
        result.push_back(
            {dataset.name, dataset.variables, values[i], losses[i].loss.get(), std::move(context), insides[i]});
    }
    return result;
}

loss::LossContext Job::loss_context(size_t dataset, const model::BatchMasks& masks) const
{
    loss::LossContext context;
    context.nan_mask = masks.loss_mask;
    context.share = shares[dataset];
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
