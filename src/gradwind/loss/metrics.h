// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Validation metrics in physical units: which there are, and over which variables each is averaged (spec §7.7).
#pragma once
#include "gradwind/loss/loss.h"

#include <memory>
#include <string>
#include <vector>

namespace gradwind::loss
{

/// One entry of `training.validation_metrics`, worked out in physical units.
struct ValidationMetric {
    std::string name; ///< "mse"
    std::unique_ptr<Loss> loss;
};

/// @param validation_metrics  the section of one data set: name -> loss; null: none
/// @throws ConfigError for a metric scaled along the variables, which means nothing in physical units, or for anything
/// that build_loss refuses
[[nodiscard]] std::vector<ValidationMetric> build_metrics(const Config& validation_metrics, const Config& scalers,
                                                          const Config& variable_groups, const LossInputs& inputs);

/// Output columns that a metric is averaged over.
struct MetricRange {
    std::string name; ///< "sfc_2t", "2t", "all"
    std::vector<int64_t> columns;
};

/// `<group>_<param>` for every output variable, then the listed variables, then `all`.
/// @param outputs  the model's output variables in their order
/// @param listed   `training.metrics`: variables with a range of their own; others than outputs do not count
[[nodiscard]] std::vector<MetricRange> metric_ranges(const VariableGroups& groups,
                                                     const std::vector<std::string>& outputs,
                                                     const std::vector<std::string>& listed);

} // namespace gradwind::loss
