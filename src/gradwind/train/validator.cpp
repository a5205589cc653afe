// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/validator.h"

#include "gradwind/core/error.h"
#include "gradwind/core/torch_version.h"
#include "gradwind/train/batch_check.h"
#include "gradwind/train/batch_feeder.h"
#include "gradwind/train/step_loss.h"

#include <ATen/ATen.h>

#include <cmath>

namespace gradwind::train
{

namespace
{

/// Sums over samples of everything a validation reports, in a fixed order.
class Sums
{
public:
    void add(const std::string& name, double value, double weight)
    {
        const auto [found, is_new] = index_.try_emplace(name, names_.size());
        if (is_new) {
            names_.push_back(name);
            sums_.push_back(0);
        }
        sums_[found->second] += value * weight;
    }
    void add_samples(double n) { n_samples_ += n; }

    /// The means over all ranks. Ranks without a sample have no names: they take those of the first that has.
    [[nodiscard]] std::pair<int64_t, std::vector<std::pair<std::string, double>>> means(const parallel::Group& world)
    {
        std::string joined;
        for (const auto& name : names_)
            joined += name + "\n";
        for (const auto& other : world.all_gather_bytes(joined))
            if (joined.empty() && !other.empty())
                joined = other;
        std::vector<std::string> names;
        for (size_t at = 0, end = 0; (end = joined.find('\n', at)) != std::string::npos; at = end + 1)
            names.push_back(joined.substr(at, end - at));
        sums_.resize(names.size(), 0);
        sums_.push_back(n_samples_);
        const auto totals = world.sum(sums_);
        std::vector<std::pair<std::string, double>> result;
        for (size_t i = 0; i < names.size(); ++i)
            result.emplace_back(names[i], totals[i] / totals.back());
        return {int64_t(totals.back()), std::move(result)};
    }

private:
    std::map<std::string, size_t> index_;
    std::vector<std::string> names_;
    std::vector<double> sums_;
    double n_samples_ = 0;
};

/// The newest input of a batch as a forecast: output columns of every step, zero where the input lacks the variable.
at::Tensor persistence(const Job& job, const RolloutDataset& dataset, const at::Tensor& like)
{
    const auto last = dataset.batch.select(1, job.settings.task.n_step_input - 1); // [B, E, N, V]
    const auto columns = at::tensor(dataset.variables.data_output(), at::kLong).to(like.device());
    return last.index_select(-1, columns).unsqueeze(1).expand_as(like).contiguous();
}

/// Whether errors by variable are worked out with it.
bool has_errors(const loss::ValidationMetric& metric)
{
    return metric.name == "mse";
}

/// Metrics of one data set.
class BatchScorer
{
public:
    BatchScorer(const Job& job, size_t dataset, Sums& sums)
        : job_(job), dataset_(dataset), name_(job.datasets[dataset].name), sums_(sums)
    {
        for (const auto& range : losses().ranges)
            columns_.push_back(range.columns);
        for (int64_t i = 0; i < variables().n_output(); ++i)
            single_.push_back({i});
    }

    /// Metrics of one rollout step, in physical units, counted n times. Every operand is a copy that may be written to.
    void add(int64_t rollout_step, const RolloutDataset& batch, const at::Tensor& prediction, const at::Tensor& target,
             const model::BatchMasks& masks, double n)
    {
        const auto& processors = job_.datasets[dataset_].processors;
        const auto forecast = prediction.clone(), truth = target.clone();
        auto reference = persistence(job_, batch, prediction);
        processors.inverse(forecast, model::Space::ModelOutput, masks);
        processors.inverse(reference, model::Space::ModelOutput, masks);
        processors.inverse(truth, model::Space::Dataset, masks);
        const auto& ranges = losses().ranges;
        for (const auto& metric : losses().metrics) {
            const auto values = metric.loss->by_range(forecast, truth, columns_, share()).to(at::kCPU, at::kDouble);
            for (size_t i = 0; i < ranges.size(); ++i)
                sums_.add(fmt::format("val_{}_{}_metric/{}/{}/{}", name_, metric.name, name_, ranges[i].name,
                                      rollout_step + 1),
                          values[int64_t(i)].item<double>(), n);
            if (has_errors(metric))
                add_errors(rollout_step, *metric.loss, forecast, reference, truth, n);
        }
    }

    /// The original logs the loss of the last rollout step under the data set's name.
    void add_loss(const at::Tensor& value, double n)
    {
        sums_.add(fmt::format("val_{}_{}_loss", name_, losses().loss->name()), value.item<double>(), n);
    }

private:
    [[nodiscard]] const Losses& losses() const { return job_.losses[dataset_]; }
    [[nodiscard]] const VariableTable& variables() const { return job_.datasets[dataset_].variables; }
    /// Metrics are shares, too: those of a model group, or of an ensemble, add up.
    [[nodiscard]] loss::LossContext share() const { return job_.loss_context(dataset_, {}); }

    void add_errors(int64_t rollout_step, const loss::Loss& mse, const at::Tensor& forecast,
                    const at::Tensor& reference, const at::Tensor& truth, double n)
    {
        const auto own = mse.by_range(forecast, truth, single_, share()).to(at::kCPU, at::kDouble);
        const auto other = mse.by_range(reference, truth, single_, share()).to(at::kCPU, at::kDouble);
        const auto names = variables().output_names();
        for (size_t i = 0; i < names.size(); ++i) {
            const auto add_one = [&](const char* what, const at::Tensor& values) {
                sums_.add(fmt::format("val_{}_{}/{}/{}", name_, what, names[i], rollout_step + 1),
                          values[int64_t(i)].item<double>(), n);
            };
            add_one("rmse", own);
            if (variables().role(variables().data_output()[i]) == Role::Prognostic)
                add_one("rmse_persistence", other);
        }
    }

    const Job& job_;
    size_t dataset_;
    const std::string& name_;
    Sums& sums_;
    std::vector<std::vector<int64_t>> columns_, single_;
};

/// The samples of this rank's batches that are not empty.
std::vector<std::vector<int64_t>> own_batches(const SamplerOptions& options, int64_t n_anchors)
{
    Sampler sampler(options);
    sampler.begin_epoch(n_anchors);
    std::vector<std::vector<int64_t>> batches;
    for (int64_t i = 0; i < sampler.n_steps(); ++i)
        for (auto& micro : sampler.step(i).micro_batches)
            if (!micro.samples.empty())
                batches.push_back(std::move(micro.samples));
    return batches;
}

bool is_root_mean_square(const std::string& name)
{
    return name.find("_rmse/") != std::string::npos || name.find("_rmse_persistence/") != std::string::npos;
}

} // namespace

int64_t evaluations_of(const loss::ValidationMetric& metric)
{
    return has_errors(metric) ? 3 : 1;
}

ValidationResult Validator::run(int64_t step, int64_t epoch, int64_t n_rollout, ProgressSink& progress) const
{
    const at::NoGradGuard no_grad;
    const auto& stage = *job_.validation;
    const auto relative = job_.settings.task.relative_indices(stage.frequency_s(), n_rollout);
    const auto anchors = stage.anchors(relative);
    const auto samples =
        own_batches(sampler_options(job_, reference_, job_.settings.validation), int64_t(anchors.size()));
    std::vector<std::vector<int64_t>> batches;
    for (const auto& batch : samples) {
        auto& own = batches.emplace_back();
        for (const auto sample : batch)
            own.push_back(anchors[size_t(sample)]);
    }
    const auto n_batches = int64_t(batches.size());
    BatchFeeder feeder(stage, batches,
                       {.device = job_.device,
                        .dtype = job_.dtype,
                        .n_threads = job_.settings.validation.n_workers,
                        .prefetch_batches = job_.settings.prefetch_batches,
                        .relative_indices = relative});
    Sums sums;
    std::vector<BatchScorer> scorers;
    for (size_t i = 0; i < job_.datasets.size(); ++i)
        scorers.emplace_back(job_, i, sums);
    for (int64_t i = 0; i < n_batches; ++i) {
        progress.validating(i, n_batches);
        auto raw = feeder.next();
        account_.begin();
        auto n = double(raw.anchors.size());
        hooks_.weighed(n);
        std::vector<model::BatchMasks> masks;
        const auto datasets = job_.prepare(stage, raw.values, std::nullopt, masks);
        const auto noise = job_.noise(NoisePurpose::Validation, step, samples[size_t(i)]);
        const AutocastGuard autocast(autocast_for(job_.settings.precision, job_.device));
        const auto value =
            rollout_loss(*job_.model, datasets, job_.settings.task, n_rollout,
                         [&](size_t d, int64_t r, const at::Tensor& prediction, const at::Tensor& target) {
                             scorers[d].add(r, datasets[d], prediction, target, masks[d], n);
                         },
                         {job_.settings.members_per_process, &noise});
        const double loss = value.total.item<double>();
        account_.end(CommPhase::ValidationBatch);
        if (!std::isfinite(loss))
            require_clean(raw, stage, relative);
        sums.add("val_multi_dataset_loss", loss, n);
        sums.add("val_multi_dataset_loss_epoch", loss, n);
        for (size_t d = 0; d < datasets.size(); ++d)
            if (datasets[d].loss)
                scorers[d].add_loss(value.parts[d], n);
        // A model group, or an ensemble, holds its samples once.
        if (job_.groups.ensemble.rank() == 0)
            sums.add_samples(n);
    }
    ValidationResult result{.step = step, .epoch = epoch, .n_samples = 0, .values = {}};
    std::tie(result.n_samples, result.values) = sums.means(job_.groups.world);
    for (auto& [name, value] : result.values)
        if (is_root_mean_square(name))
            value = std::sqrt(value);
    return result;
}

} // namespace gradwind::train
