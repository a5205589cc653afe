// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Sample orders, seeds, schedules, partitions and group layouts of the original (kind "sampler").
#include "gradwind/parallel/layout.h"
#include "gradwind/train/sampler.h"
#include "gradwind/train/schedule.h"
#include "gradwind/train/task.h"
#include "gradwind/verify/report.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace gradwind::verify
{

namespace
{

using Indices = std::vector<int64_t>;
using nlohmann::json;

/// Number of positions at which two lists differ; a length that differs counts as well.
double n_different(const Indices& found, const Indices& expected)
{
    const size_t common = std::min(found.size(), expected.size());
    double result = double(std::max(found.size(), expected.size()) - common);
    for (size_t i = 0; i < common; ++i)
        result += found[i] != expected[i];
    return result;
}

/// Anchors whose whole window lies inside the series and touches no missing date.
Indices usable(int64_t n_dates, const Indices& missing, const Indices& relative)
{
    Indices result;
    for (int64_t anchor = 0; anchor < n_dates; ++anchor)
        if (std::all_of(relative.begin(), relative.end(), [&](int64_t offset) {
                const int64_t at = anchor + offset;
                return at >= 0 && at < n_dates && std::find(missing.begin(), missing.end(), at) == missing.end();
            }))
            result.push_back(anchor);
    return result;
}

std::string name_of(const json& sample)
{
    return fmt::format("{} dates, base {}, group {}/{}, worker {}/{}", sample["dates"].get<int64_t>(),
                       sample["base_seed"].get<int64_t>(), sample["group"].get<int64_t>(),
                       sample["groups"].get<int64_t>(), sample["worker"].get<int64_t>(),
                       sample["workers"].get<int64_t>());
}

/// What one worker of one group reads: the range of the replica's order that belongs to the worker.
Indices order_of(const train::Sampler& sampler, const json& sample, const Indices& anchors)
{
    const auto part = parallel::balanced_span(int64_t(sampler.order().size()), sample["workers"].get<int64_t>(),
                                              sample["worker"].get<int64_t>());
    Indices result;
    for (int64_t i = part.begin; i < part.end(); ++i)
        result.push_back(anchors[size_t(sampler.order()[size_t(i)])]);
    return result;
}

train::Sampler sampler_for(const json& sample, train::SampleOrder order)
{
    return train::Sampler({.order = order,
                           .shuffle = sample["shuffle"].get<bool>() ? train::Shuffle::Yes : train::Shuffle::No,
                           .stream = sample["workers_restarted_each_epoch"].get<bool>()
                                         ? train::Stream::RestartedEachEpoch
                                         : train::Stream::Continued,
                           .base_seed = sample["base_seed"].get<uint64_t>(),
                           .n_replicas = sample["groups"].get<int64_t>(),
                           .replica = sample["group"].get<int64_t>(),
                           .n_workers = sample["workers"].get<int64_t>()});
}

void check_samples(CaseReport& report, const json& samples)
{
    for (const auto& sample : samples) {
        const auto anchors = usable(sample["dates"], sample["missing"], sample["relative_indices"]);
        report.check("usable anchors, " + name_of(sample),
                     std::abs(double(anchors.size()) - sample["n_anchors"].get<double>()), 0);
        auto sampler = sampler_for(sample, train::SampleOrder::Anemoi);
        int64_t epoch = 0;
        for (const auto& expected : sample["anchor_positions_per_epoch"]) {
            sampler.begin_epoch(int64_t(anchors.size()));
            report.check(fmt::format("order, {}, epoch {}", name_of(sample), epoch++),
                         n_different(order_of(sampler, sample, anchors), expected), 0);
            sampler.end_epoch();
        }
    }
}

void check_large_samples(CaseReport& report, const json& samples)
{
    for (const auto& sample : samples) {
        const auto anchors = usable(sample["dates"], sample["missing"], sample["relative_indices"]);
        // One group with one worker: both orders are the plain permutation.
        auto sampler = sampler_for(sample, train::SampleOrder::Global);
        sampler.begin_epoch(int64_t(anchors.size()));
        const auto found = order_of(sampler, sample, anchors);
        const Indices first = sample["first_20"], last = sample["last_20"];
        uint64_t sum = 0;
        for (size_t i = 0; i < found.size(); ++i)
            sum = (sum + (i + 1) * uint64_t(found[i])) % (uint64_t(1) << 61);
        const auto expected_sum = sample["checksum_sum_i_times_value_mod_2^61"].get<uint64_t>();
        const double wrong = n_different({found.begin(), found.begin() + 20}, first) +
                             n_different({found.end() - 20, found.end()}, last) + (sum != expected_sum);
        report.check("order, " + name_of(sample), wrong, 0);
    }
}

void check_seeds(CaseReport& report, const json& seeds)
{
    for (const auto& [base, contexts] : seeds.items()) {
        const auto base_seed = std::stoull(base);
        double wrong = train::derive_seed(base_seed, train::SeedContext::Trainer) != contexts["TRAINER"];
        for (const auto& [context, name] :
             {std::pair(train::SeedContext::Model, "MODEL"), std::pair(train::SeedContext::DataLoader, "DATALOADER")})
            for (uint32_t key = 0; key < contexts[name].size(); ++key)
                wrong += train::derive_seed(base_seed, context, {&key, 1}) != contexts[name][key];
        report.check("seeds from base " + base, wrong, 0);
    }
}

void check_partitions(CaseReport& report, const json& partitions)
{
    double wrong = 0;
    for (const auto& entry : partitions)
        for (int64_t part = 0; part < entry["parts"].get<int64_t>(); ++part) {
            const auto span = parallel::balanced_span(entry["n"], entry["parts"], part);
            const auto& range = entry["ranges"][size_t(part)];
            wrong += span.begin != range[0].get<int64_t>() || span.end() != range[1].get<int64_t>();
        }
    report.check("balanced partition", wrong, 0);
}

void check_schedules(CaseReport& report, const json& description)
{
    for (const auto& entry : description["learning_rate"]) {
        const train::CosineSchedule schedule{entry["lr"], entry["lr_min"], entry["warmup_t"], entry["t_initial"]};
        double worst = 0;
        for (size_t i = 0; i < entry["optimizer_step"].size(); ++i)
            worst = std::max(
                worst, std::abs(schedule.at(entry["optimizer_step"][i]) - entry["learning_rate"][i].get<double>()));
        // The same formula in double; the last bit may differ.
        report.check(fmt::format("learning rate, peak {}", schedule.lr), worst / schedule.lr, 1e-14);
    }
    for (const auto& entry : description["rollout_schedule"]) {
        const train::RolloutSchedule schedule{entry["start"], entry["epoch_increment"], entry["maximum"]};
        Indices found;
        for (size_t epoch = 0; epoch < entry["rollout_in_epoch"].size(); ++epoch)
            found.push_back(schedule.at(int64_t(epoch)));
        report.check(fmt::format("rollout, one more every {} epochs", schedule.epoch_increment),
                     n_different(found, entry["rollout_in_epoch"]), 0);
    }
}

void check_windows(CaseReport& report, const json& description)
{
    for (const auto& entry : description["usable_indices"])
        report.check(fmt::format("usable indices of {} dates", entry["length"].get<int64_t>()),
                     n_different(usable(entry["length"], entry["missing"], entry["relative"]), entry["usable"]), 0);
    for (const auto& entry : description["forecaster_offsets"]) {
        const train::ForecasterTask task{.n_step_input = entry["n_step_input"],
                                         .n_step_output = entry["n_step_output"],
                                         .timestep_s = 6 * 3600,
                                         .rollout = {},
                                         .validation_rollout = {}};
        const auto n_rollout = entry["rollout"].get<int64_t>();
        double wrong = n_different(task.relative_indices(3600, n_rollout), entry["offsets_hours"]);
        for (int64_t step = 0; step < n_rollout; ++step) {
            Indices outputs;
            for (int64_t i = 0; i < task.n_step_output; ++i)
                outputs.push_back(task.first_output(step) + i);
            wrong += n_different(outputs, entry["output_indices"][size_t(step)]);
        }
        report.check(
            fmt::format("offsets, {} in, {} out, rollout {}", task.n_step_input, task.n_step_output, n_rollout), wrong,
            0);
    }
}

using Ranks = std::vector<int>;

/// What the original knows about the groups of one rank, under its own names.
json groups_of(const parallel::Layout& layout, int rank)
{
    const auto place = layout.place(rank);
    std::vector<Ranks> models, ensembles, subgroups;
    std::vector<std::vector<Ranks>> readers;
    for (int id = 0; id < layout.world() / layout.model_size(); ++id) {
        models.push_back(layout.model_ranks(id));
        readers.emplace_back();
        for (int reader = 0; reader < layout.model_size() / layout.reader_size(); ++reader)
            readers.back().push_back(layout.reader_ranks(id, reader));
    }
    for (int id = 0; id < layout.replicas(); ++id)
        ensembles.push_back(layout.ensemble_ranks(id));
    const int n_subgroups = layout.world() / layout.subgroup_size();
    for (int id = 0; id < n_subgroups; ++id)
        subgroups.push_back(layout.subgroup_ranks(id));
    return {{"model_comm_group_ranks", models},
            {"model_comm_group_id", place.model_id},
            {"model_comm_group_rank", place.model_rank},
            {"model_comm_num_groups", models.size()},
            {"reader_group_ranks", readers},
            {"reader_group_id", place.reader_id},
            {"reader_group_rank", place.reader_rank},
            {"reader_group_size", layout.reader_size()},
            {"reader_group_root", layout.reader_ranks(place.model_id, place.reader_id).front()},
            {"ens_comm_group_ranks", ensembles},
            {"ens_comm_group_id", place.ensemble_id},
            {"ens_comm_group_rank", place.ensemble_rank},
            {"ens_comm_num_groups", ensembles.size()},
            {"ens_comm_subgroup_ranks", subgroups},
            {"ens_comm_subgroup_id", place.subgroup_id},
            {"ens_comm_subgroup_rank", place.subgroup_rank},
            {"ens_comm_num_subgroups", n_subgroups},
            {"ens_comm_subgroup_size", layout.subgroup_size()}};
}

void check_layouts(CaseReport& report, const json& entries)
{
    for (const auto& entry : entries) {
        const parallel::Layout layout({.nodes = 1,
                                       .gpus_per_node = entry["world"],
                                       .gpus_per_model = entry["gpus_per_model"],
                                       .gpus_per_ensemble = entry["gpus_per_ensemble"],
                                       .read_group_size = entry["read_group_size"],
                                       .kind = parallel::JobKind::Ensemble});
        const int rank = entry["rank"];
        const auto found = groups_of(layout, rank);
        const auto wrong = std::count_if(found.items().begin(), found.items().end(),
                                         [&](const auto& item) { return entry.at(item.key()) != item.value(); });
        report.check(fmt::format("groups of rank {} of {}, {} a model, {} an ensemble", rank, layout.world(),
                                 layout.model_size(), layout.ensemble_size()),
                     double(wrong), 0);
    }
}

} // namespace

CaseReport verify_sampler_case(const std::filesystem::path&, const json& description)
{
    CaseReport report;
    check_samples(report, description["samples"]);
    check_large_samples(report, description["samples_large"]);
    check_seeds(report, description["seeds"]);
    check_partitions(report, description["balanced_partition"]);
    check_schedules(report, description);
    check_windows(report, description);
    check_layouts(report, description["group_layouts"]);
    return report;
}

} // namespace gradwind::verify
