// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Validation metrics by variable and group in physical units, as sums that ranks can add (spec §7.7).
#pragma once
#include "gradwind/loss/loss.h"

#include <memory>
#include <string>
#include <vector>

namespace gradwind::loss
{

/// Numerators and their sample count; adding two of them elementwise, or all-reducing `values`, is correct.
struct MetricSums {
    std::vector<double> values; ///< one per name, last the number of samples
};

struct MetricsOptions {
    std::string dataset = "data";       ///< as it appears in the names
    std::vector<std::string> variables; ///< `training.metrics`: variables that get a range of their own
    int64_t rollout_steps = 1;
};

/// Every metric of `training.validation_metrics` over every range of variables.
///
/// Ranges: `<group>_<param>` for every output variable, then the variables listed in the options, then `all`. Names as
/// the original logs them: `val_<ds>_<metric>_metric/<ds>/<range>/<step>`, step from 1.
class ValidationMetrics
{
public:
    /// @throws ConfigError for a metric scaled along the variables, which means nothing in physical units, or for
    /// anything that build_loss refuses
    ValidationMetrics(const Config& validation_metrics, const Config& scalers, const Config& variable_groups,
                      const LossInputs& inputs, const MetricsOptions& options);

    /// Names in the order of MetricSums::values, step by step.
    [[nodiscard]] const std::vector<std::string>& names() const { return names_; }
    [[nodiscard]] MetricSums zero() const;
    /// Adds one rollout step of a batch. Step 0 counts the samples, so it must come once per batch.
    /// @param step   from 0
    /// @param pred   as for Loss, in physical units (post-processed), like the target
    /// @param context with a grid slice, a sample is counted by the rank whose slice begins at 0
    void add(MetricSums& sums, int64_t step, const at::Tensor& pred, const at::Tensor& target,
             const LossContext& context = {}) const;
    /// Means over the samples, in the order of names(). @throws DataError without samples
    [[nodiscard]] std::vector<double> means(const MetricSums& sums) const;

private:
    struct Metric {
        std::string name;
        std::unique_ptr<Loss> loss;
    };
    std::vector<Metric> metrics_;
    std::vector<std::vector<int64_t>> ranges_;
    std::vector<std::string> names_;
    int64_t rollout_steps_ = 1;
};

/// `val_<ds>_<loss name>_loss`, the original's name of the validation loss of one data set.
[[nodiscard]] std::string validation_loss_name(const Loss& loss, const std::string& dataset);

/// Root-mean-square errors by variable, accumulated over dates; every cell counts the same unless weights are given.
class RmseTable
{
public:
    /// @param cell_weights [N] or undefined; 0 leaves a cell out
    explicit RmseTable(int64_t n_variables, at::Tensor cell_weights = {});
    /// @param forecast, truth [..., N, V] in the same units. Points with NaN in either do not count.
    void add(const at::Tensor& forecast, const at::Tensor& truth);
    /// One value per variable; NaN where nothing was added.
    [[nodiscard]] std::vector<double> values() const;

private:
    at::Tensor squares_, weights_; ///< [V], double
    at::Tensor cell_weights_;
};

} // namespace gradwind::loss
