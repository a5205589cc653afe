// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/verify/layouts_cases.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/layout_config.h"
#include "gradwind/train/schedule.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace gradwind::verify
{

using parallel::JobKind;
using parallel::LayoutOptions;

namespace
{

int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

std::vector<int> divisors(int n)
{
    std::vector<int> result;
    for (int d = 1; d <= n; ++d)
        if (n % d == 0)
            result.push_back(d);
    return result;
}

int64_t replicas(const LayoutOptions& groups)
{
    return groups.gpus_per_node / groups.gpus_per_ensemble;
}

/// The same groups with forward passes of the size that fits, and of half that size.
void add_batches(const CommonWork& work, LayoutCase layout, std::vector<LayoutCase>& cases)
{
    const auto share = ceil_div(work.effective_batch, replicas(layout.groups));
    const auto add = [&](int64_t batch) {
        layout.batch = batch;
        layout.passes = ceil_div(share, batch);
        cases.push_back(layout);
    };
    const auto whole = std::min(share, work.batch);
    if (layout.groups.gpus_per_node > 1)
        add(whole);
    else if (share > work.batch && share <= 4 * work.batch)
        add(share); // without the accumulation that the reference has
    const auto half = ceil_div(whole, 2);
    // Sharded models differ by more than this: one number of passes each is enough.
    if (half < whole && !layout.is_sharded())
        add(half);
}

void add_groups(const CommonWork& work, int world, std::vector<LayoutCase>& cases)
{
    for (const int model : divisors(world))
        for (const int ensemble : divisors(world)) {
            const bool fits = work.kind == JobKind::Ensemble ? ensemble % model == 0 : ensemble == model;
            if (!fits || work.members % (ensemble / model) != 0)
                continue;
            for (const int readers : divisors(model)) {
                LayoutCase layout{.groups = {.nodes = 1,
                                             .gpus_per_node = world,
                                             .gpus_per_model = model,
                                             .gpus_per_ensemble = ensemble,
                                             .read_group_size = readers,
                                             .kind = work.kind},
                                  .batch = 1,
                                  .passes = 1,
                                  .members_per_device = work.members / (ensemble / model),
                                  .strategy = "",
                                  .partition = ""};
                add_batches(work, layout, cases);
                if (model == 1 || readers != model)
                    continue;
                layout.partition = "bisection";
                add_batches(work, layout, cases);
                layout.partition.clear();
                for (const auto& choice : work.sharing)
                    if (model <= choice.most_processes) {
                        layout.strategy = choice.name;
                        add_batches(work, layout, cases);
                    }
            }
        }
}

/// The part of a network whose attention can be shared in more than one way.
struct AttentionPart {
    std::string path; ///< of its section
    int64_t heads = 1;
    std::string by_rows; ///< how its rows are shared; empty: they cannot be
    bool is_by_heads = false;
};

std::vector<AttentionPart> attention_parts(const Config& config)
{
    std::vector<std::string> paths = {"model.processor", "model.encoder", "model.decoder"};
    for (const char* kind : {"model.encoders", "model.decoders"})
        if (config.has(kind))
            for (const auto& key : config.at(kind).keys())
                paths.push_back(fmt::format("{}.{}.mapper", kind, key));
    std::vector<AttentionPart> parts;
    for (const auto& path : paths) {
        const auto section = config.find(path);
        if (!section || !section->is_map() || !section->has("_target_") ||
            section->target().find("Transformer") == std::string::npos)
            continue;
        const bool has_edges = section->target().starts_with("Graph");
        const bool has_window = section->get<int64_t>("window_size", -1) >= 0;
        const auto strategy = section->get<std::string>("shard_strategy", "edges");
        AttentionPart part{.path = path, .heads = section->get<int64_t>("num_heads", 16), .by_rows = ""};
        part.by_rows = has_edges ? "edges" : has_window ? "sequence" : "";
        part.is_by_heads = strategy == "heads" || part.by_rows.empty();
        parts.push_back(part);
    }
    return parts;
}

/// By heads, unless all parts are shared so anyway, and by rows where a part that could be is not. The first part is
/// the processor, after which the choice is named.
std::vector<SharingChoice> sharing_choices(const Config& config)
{
    const auto parts = attention_parts(config);
    SharingChoice heads{.name = "heads", .overrides = {}, .most_processes = std::numeric_limits<int64_t>::max()};
    SharingChoice rows{.name = "", .overrides = {}, .most_processes = heads.most_processes};
    bool some_by_rows = false, some_could = false;
    for (const auto& part : parts) {
        heads.overrides.push_back(part.path + ".shard_strategy=heads");
        heads.most_processes = std::min(heads.most_processes, part.heads);
        some_by_rows = some_by_rows || !part.is_by_heads;
        if (part.by_rows.empty()) {
            rows.most_processes = std::min(rows.most_processes, part.heads);
            continue;
        }
        some_could = some_could || part.is_by_heads;
        rows.overrides.push_back(part.path + ".shard_strategy=" + part.by_rows);
        if (rows.name.empty())
            rows.name = part.by_rows;
    }
    std::vector<SharingChoice> result;
    if (some_by_rows)
        result.push_back(heads);
    if (some_could)
        result.push_back(rows);
    return result;
}

} // namespace

bool LayoutCase::is_sharded() const
{
    return groups.gpus_per_ensemble > 1;
}

std::string LayoutCase::name() const
{
    std::string text = fmt::format("W{}", groups.gpus_per_node);
    if (groups.kind == JobKind::Ensemble)
        text += fmt::format(" E{}", groups.gpus_per_ensemble);
    if (groups.gpus_per_model > 1)
        text += fmt::format(" M{} R{}", groups.gpus_per_model, groups.read_group_size);
    for (const auto& part : {strategy, partition})
        if (!part.empty())
            text += " " + part;
    return text + fmt::format(" {}x{}", batch, passes);
}

CommonWork common_work(const Config& config, int n_processes)
{
    auto groups = parallel::layout_from(config);
    groups.nodes = 1;
    groups.gpus_per_node = n_processes;
    const parallel::Layout layout(groups);
    CommonWork work;
    work.kind = groups.kind;
    work.n_replicas = layout.replicas();
    work.batch = config.get<int64_t>("dataloader.batch_size.training", 1);
    work.effective_batch = layout.effective_batch(work.batch, config.get<int64_t>("training.accum_grad_batches", 1));
    work.effective_validation_batch = config.get<int64_t>("dataloader.batch_size.validation", 1) * work.n_replicas;
    const auto scaling = config.get<std::string>("training.optimization.lr_scaling", "anemoi") == "none"
                             ? train::LrScaling::None
                             : train::LrScaling::Anemoi;
    work.effective_lr = train::effective_lr(config.get<double>("training.optimization.lr", 0.625e-4), scaling,
                                            layout.world(), layout.ensemble_size());
    if (work.kind == JobKind::Ensemble)
        work.members = config.get<int64_t>("training.ensemble_size_per_device", 1) * layout.subgroup_size();
    work.sharing = sharing_choices(config);
    return work;
}

LayoutCase reference_case(const CommonWork& work)
{
    LayoutCase layout;
    layout.groups.kind = work.kind;
    layout.batch = std::min(work.batch, work.effective_batch);
    layout.passes = ceil_div(work.effective_batch, layout.batch);
    layout.members_per_device = work.members;
    return layout;
}

std::vector<LayoutCase> layout_cases(const CommonWork& work, int n_processes)
{
    std::vector<LayoutCase> cases;
    for (int world = 1; world <= n_processes; ++world)
        add_groups(work, world, cases);
    return cases;
}

std::vector<std::string> overrides_for(const Config& config, const CommonWork& work, const LayoutCase& layout,
                                       int64_t steps)
{
    const auto& groups = layout.groups;
    const auto validation = ceil_div(work.effective_validation_batch, replicas(groups));
    std::vector<std::string> result = {
        "system.hardware.num_nodes=1",
        fmt::format("system.hardware.num_gpus_per_node={}", groups.gpus_per_node),
        fmt::format("system.hardware.num_gpus_per_model={}", groups.gpus_per_model),
        fmt::format("dataloader.read_group_size={}", groups.read_group_size),
        "dataloader.sample_order=global",
        fmt::format("dataloader.batch_size.training={}", layout.batch),
        fmt::format("dataloader.batch_size.validation={}", validation),
        // Two epochs, each with a validation over two batches: limits count the passes of one replica.
        fmt::format("dataloader.limit_batches.training={}", ceil_div(steps, 2) * layout.passes),
        "dataloader.limit_batches.validation=2",
        fmt::format("training.max_steps={}", steps),
        "training.max_epochs=null",
        "training.accum_grad_batches=1",
        "diagnostics.enable_checkpointing=false",
        "diagnostics.check_val_every_n_epoch=1",
        "training.strategy.timeout_s=120",
    };
    if (groups.kind == JobKind::Ensemble) {
        result.push_back(fmt::format("system.hardware.num_gpus_per_ensemble={}", groups.gpus_per_ensemble));
        result.push_back(fmt::format("training.ensemble_size_per_device={}", layout.members_per_device));
    }
    // Keys of the strategy win over those of the hardware.
    const std::pair<const char*, int> own[] = {{"num_gpus_per_model", groups.gpus_per_model},
                                               {"num_gpus_per_ensemble", groups.gpus_per_ensemble},
                                               {"read_group_size", groups.read_group_size}};
    for (const auto& [key, value] : own)
        if (config.has(fmt::format("training.strategy.{}", key)))
            result.push_back(fmt::format("training.strategy.{}={}", key, value));
    // As many processes share the optimiser's state as their number allows.
    if (const auto zero = config.get<int64_t>("training.strategy.zero_group_size", 1); zero > 1)
        result.push_back(
            fmt::format("training.strategy.zero_group_size={}", std::gcd(zero, int64_t(groups.gpus_per_node))));
    // The first steps of a warm-up hardly move the weights: there would be little to compare.
    if (config.has("training.optimization.lr_scheduler.warmup_t"))
        result.emplace_back("training.optimization.lr_scheduler.warmup_t=0");
    for (const auto& choice : work.sharing)
        if (choice.name == layout.strategy)
            result.insert(result.end(), choice.overrides.begin(), choice.overrides.end());
    if (!layout.partition.empty())
        result.push_back("training.strategy.partition=" + layout.partition);
    return result;
}

} // namespace gradwind::verify
