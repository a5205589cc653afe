// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/validator.h"

#include "gradwind/core/error.h"
#include "gradwind/core/torch_version.h"
#include "gradwind/data/windows.h"
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
at::Tensor persistence(const Job& job, const at::Tensor& batch, const at::Tensor& like)
{
    const auto last = batch.select(1, job.settings.task.n_step_input - 1); // [B, E, N, V]
    const auto columns = at::tensor(job.variables.data_output(), at::kLong).to(batch.device());
    return last.index_select(-1, columns).unsqueeze(1).expand_as(like).contiguous();
}

/// Whether errors by variable are worked out with it.
bool has_errors(const loss::ValidationMetric& metric)
{
    return metric.name == "mse";
}

class BatchScorer
{
public:
    BatchScorer(const Job& job, Sums& sums) : job_(job), sums_(sums)
    {
        for (const auto& range : job.ranges)
            columns_.push_back(range.columns);
        for (int64_t i = 0; i < job.variables.n_output(); ++i)
            single_.push_back({i});
    }

    /// Metrics of one rollout step, in physical units, counted n times. Every operand is a copy that may be written to.
    void add(int64_t rollout_step, const at::Tensor& batch, const at::Tensor& prediction, const at::Tensor& target,
             const model::BatchMasks& masks, double n)
    {
        const auto& name = job_.settings.dataset_name;
        const auto forecast = prediction.clone(), truth = target.clone();
        auto reference = persistence(job_, batch, prediction);
        job_.processors->inverse(forecast, model::Space::ModelOutput, masks);
        job_.processors->inverse(reference, model::Space::ModelOutput, masks);
        job_.processors->inverse(truth, model::Space::Dataset, masks);
        for (const auto& metric : job_.metrics) {
            const auto values = metric.loss->by_range(forecast, truth, columns_, share()).to(at::kCPU, at::kDouble);
            for (size_t i = 0; i < job_.ranges.size(); ++i)
                sums_.add(fmt::format("val_{}_{}_metric/{}/{}/{}", name, metric.name, name, job_.ranges[i].name,
                                      rollout_step + 1),
                          values[int64_t(i)].item<double>(), n);
            if (has_errors(metric))
                add_errors(rollout_step, *metric.loss, forecast, reference, truth, n);
        }
    }

private:
    /// Metrics are shares, too: those of a model group, or of an ensemble, add up.
    [[nodiscard]] loss::LossContext share() const { return job_.loss_context({}); }

    void add_errors(int64_t rollout_step, const loss::Loss& mse, const at::Tensor& forecast,
                    const at::Tensor& reference, const at::Tensor& truth, double n)
    {
        const auto own = mse.by_range(forecast, truth, single_, share()).to(at::kCPU, at::kDouble);
        const auto other = mse.by_range(reference, truth, single_, share()).to(at::kCPU, at::kDouble);
        const auto variables = job_.variables.output_names();
        for (size_t i = 0; i < variables.size(); ++i) {
            const auto add_one = [&](const char* what, const at::Tensor& values) {
                sums_.add(
                    fmt::format("val_{}_{}/{}/{}", job_.settings.dataset_name, what, variables[i], rollout_step + 1),
                    values[int64_t(i)].item<double>(), n);
            };
            add_one("rmse", own);
            const auto role = job_.variables.role(job_.variables.data_output()[i]);
            if (role == Role::Prognostic)
                add_one("rmse_persistence", other);
        }
    }

    const Job& job_;
    Sums& sums_;
    std::vector<std::vector<int64_t>> columns_, single_;
};

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
    const auto& dataset = *job_.validation;
    const auto relative = job_.settings.task.relative_indices(dataset.frequency_s(), n_rollout);
    const auto anchors = data::valid_anchors(dataset, relative);
    Sampler sampler(sampler_options(job_, reference_, job_.settings.validation));
    sampler.begin_epoch(int64_t(anchors.size()));
    std::vector<std::vector<int64_t>> batches, samples;
    for (int64_t i = 0; i < sampler.n_steps(); ++i)
        for (const auto& micro : sampler.step(i).micro_batches)
            if (!micro.samples.empty()) {
                samples.push_back(micro.samples);
                auto& batch = batches.emplace_back();
                for (const auto sample : micro.samples)
                    batch.push_back(anchors[size_t(sample)]);
            }
    const auto n_batches = int64_t(batches.size());
    BatchFeeder feeder(job_.validation, std::move(batches),
                       {.device = job_.device,
                        .dtype = job_.dtype,
                        .n_threads = job_.settings.validation.n_workers,
                        .prefetch_batches = job_.settings.prefetch_batches,
                        .relative_indices = relative,
                        .cells = job_.validation_cells->cells()});
    Sums sums;
    BatchScorer scorer(job_, sums);
    for (int64_t i = 0; i < n_batches; ++i) {
        progress.validating(i, n_batches);
        auto raw = feeder.next();
        account_.begin();
        auto n = double(raw.anchors.size());
        hooks_.weighed(n);
        raw.values = job_.validation_cells->own(raw.values);
        const auto masks = job_.processors->transform(raw.values, model::Space::Dataset);
        const auto context = job_.loss_context(masks);
        const auto noise = job_.noise(NoisePurpose::Validation, step, samples[size_t(i)]);
        const AutocastGuard autocast(autocast_for(job_.settings.precision, job_.device));
        const auto value =
            rollout_loss(*job_.model, *job_.loss, raw.values, job_.settings.task, job_.variables, n_rollout, context,
                         [&](int64_t r, const at::Tensor& prediction, const at::Tensor& target) {
                             scorer.add(r, raw.values, prediction, target, masks, n);
                         },
                         {job_.settings.members_per_process, &noise});
        const double loss = value.item<double>();
        account_.end(CommPhase::ValidationBatch);
        if (!std::isfinite(loss))
            require_clean(raw, *job_.validation, relative, "validation");
        sums.add("val_multi_dataset_loss", loss, n);
        sums.add("val_multi_dataset_loss_epoch", loss, n);
        sums.add(fmt::format("val_{}_{}_loss", job_.settings.dataset_name, job_.loss->name()), loss, n);
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
