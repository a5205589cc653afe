// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/job_traffic.h"

#include "gradwind/loss/exchanges.h"
#include "gradwind/train/job_outline.h"
#include "gradwind/train/losses.h"
#include "gradwind/train/validator.h"

#include <algorithm>

namespace gradwind::train
{

namespace
{

using parallel::Verb;

/// Samples of one process, and forward passes of each.
struct Work {
    int64_t samples = 0;
    int64_t passes = 1;
};

class Predictor
{
public:
    Predictor(const Config& config, const parallel::Layout& layout)
        : job_(outline_job(config)), layout_(layout),
          losses_(make_losses(config, job_.settings, job_.training, job_.datasets, job_.graph)), cells_(cut_cells())
    {
        const auto& settings = job_.settings;
        result_.step = predict_step_traffic(job_, layout);
        step_ = {settings.training.batch_size * settings.accumulation, result_.step.cost.passes};
        validation_ = {job_.validation ? settings.validation.batch_size : 0,
                       settings.task.validation_rollout.value_or(step_.passes)};
    }

    JobTraffic predict()
    {
        for (int rank = 0; rank < layout_.ensemble_size(); ++rank) {
            rows_.clear();
            add_gradients(rank);
            add_model(rank);
            for (size_t dataset = 0; dataset < losses_.size(); ++dataset)
                if (losses_[dataset].loss)
                    add_losses(rank, dataset);
            add_reading(rank);
            std::erase_if(rows_, [](const auto& row) { return row.step == 0 && row.validation_batch == 0; });
            result_.ranks.push_back(rows_);
        }
        result_.reading = reading_of(0).training;
        return std::move(result_);
    }

private:
    /// How training and validation data are read by one rank's readers.
    struct Reading {
        std::vector<int> readers; ///< world ranks
        ReadingPlan training, validation;
    };

    /// Of every data set over a model group.
    [[nodiscard]] std::vector<parallel::Partition> cut_cells() const
    {
        const auto size = layout_.model_size();
        const auto kind = partition_kind(job_.config, job_.graph, size);
        std::map<std::string, parallel::Partition> nodes;
        if (size > 1 && kind != parallel::PartitionKind::Contiguous)
            nodes = cut_nodes(job_.config, job_.graph, job_.settings.dataset_names, kind, size);
        std::vector<parallel::Partition> result;
        for (const auto& [name, dataset, shift, cells] : job_.training.parts())
            result.push_back(nodes.empty() ? parallel::Partition::contiguous(dataset->n_cells(), size)
                                           : nodes.at(name));
        return result;
    }

    void add(const std::string& group, Verb verb, int64_t step, int64_t validation_batch)
    {
        for (auto& row : rows_)
            if (row.group == group && row.verb == verb) {
                row.step += step;
                row.validation_batch += validation_batch;
                return;
            }
        rows_.push_back({group, verb, step, validation_batch});
    }

    void add_gradients(int rank)
    {
        if (layout_.world() == 1)
            return;
        if (result_.step.exchange.compressed.empty()) // else steps differ
            for (const auto& call : result_.step.exchange.dense.calls)
                add(call.group, call.verb, call.bytes, 0);
        if (rank == 0)
            add("world", Verb::Broadcast, result_.step.buffer_bytes, 0);
    }

    void add_model(int rank)
    {
        const auto place = layout_.place(rank);
        for (const auto& group : result_.step.groups) {
            if (!group.is_chosen)
                continue;
            auto in_validation = result_.step.cost;
            in_validation.passes = validation_.passes;
            const auto members = job_.settings.members_per_process;
            add("model", Verb::AllToAll,
                step_.samples * members * group.bytes_per_sample(place.model_rank, result_.step.cost),
                validation_.samples * members * group.forward_bytes_per_sample(place.model_rank, in_validation));
        }
    }

    void add_losses(int rank, size_t dataset)
    {
        const auto& variables = job_.datasets[dataset].variables;
        const auto& cells = cells_[dataset];
        const auto& losses = losses_[dataset];
        const auto place = layout_.place(rank);
        const loss::HeldFields fields{.steps = job_.settings.task.n_step_output,
                                      .points = cells.size(place.model_rank),
                                      .all_points = cells.n_rows(),
                                      .outputs = variables.n_output(),
                                      .variables = variables.count(),
                                      .members = job_.settings.members_per_process,
                                      .grid_size = layout_.model_size(),
                                      .members_size = layout_.subgroup_size(),
                                      .members_rank = place.subgroup_rank};
        const auto own = loss::count_exchanges(*losses.loss, fields);
        const auto once = step_.samples * step_.passes * field_bytes();
        const auto validated = validation_.samples * validation_.passes * field_bytes();
        add("model", Verb::AllGather, once * own.gathered, validated * own.gathered);
        add("model", Verb::ReduceScatter, once * own.scattered, 0);
        add("subgroup", Verb::AllToAll, once * (own.members_forward + own.members_backward),
            validated * own.members_forward);
        for (const auto& metric : losses.metrics) {
            const auto each = loss::count_exchanges(*metric.loss, fields);
            const auto all = validated * evaluations_of(metric);
            add("model", Verb::AllGather, 0, all * each.gathered);
            add("subgroup", Verb::AllToAll, 0, all * each.members_forward);
        }
    }

    void add_reading(int rank)
    {
        const auto& reading = reading_of(rank);
        if (reading.readers.size() == 1)
            return;
        const auto place =
            size_t(std::find(reading.readers.begin(), reading.readers.end(), rank) - reading.readers.begin());
        const auto bytes = [&](const ReadingPlan& plan, const Stage& stage, const Work& work) {
            const auto dates = job_.settings.task.relative_indices(stage.frequency_s(), work.passes).size();
            return work.samples * int64_t(dates) * plan.handed_over[place] * field_bytes();
        };
        add(layout_.subgroup_size() > 1 ? "ensemble" : "reader", Verb::AllToAll,
            bytes(reading.training, job_.training, step_),
            job_.validation ? bytes(reading.validation, *job_.validation, validation_) : 0);
    }

    /// Looked at once for all of them.
    const Reading& reading_of(int rank)
    {
        for (const auto& known : readings_)
            if (std::find(known.readers.begin(), known.readers.end(), rank) != known.readers.end())
                return known;
        const auto place = layout_.place(rank);
        Reading reading;
        reading.readers = layout_.subgroup_size() > 1 ? layout_.ensemble_ranks(place.ensemble_id)
                                                      : layout_.reader_ranks(place.model_id, place.reader_id);
        reading.training = predict_reading(job_.training, layout_, cells_, rank);
        if (job_.validation && reading.readers.size() > 1)
            reading.validation = predict_reading(*job_.validation, layout_, cells_, rank);
        return readings_.emplace_back(std::move(reading));
    }

    [[nodiscard]] int64_t field_bytes() const { return result_.step.cost.field_bytes; }

    JobOutline job_;
    const parallel::Layout layout_;
    std::vector<Losses> losses_; ///< by data set
    std::vector<parallel::Partition> cells_;
    Work step_, validation_;
    std::vector<PredictedBytes> rows_; ///< of one rank
    std::vector<Reading> readings_;
    JobTraffic result_;
};

} // namespace

JobTraffic predict_job_traffic(const Config& config, const parallel::Layout& layout)
{
    return Predictor(config, layout).predict();
}

} // namespace gradwind::train
