// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// How much of the exchange of gradients hides behind backward, on every rank, and who keeps the others waiting.
#pragma once
#include "gradwind/parallel/gradient_engine.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace gradwind::train
{

/// Mean of one rank's steps, in seconds.
struct ExposureRow {
    double backward_s = 0; ///< from the begin of the reduced backward to its end, on the host's clock
    double hidden_s = 0;   ///< of that, with a bucket under way
    double exposed_s = 0;  ///< from the end of backward until all gradients were summed
    double straggled = 0;  ///< share of the log intervals in which this rank was the one that the others waited for
};

/// Adds numbers that the engine has anyway; ranks compare them at log lines only.
class ExposureAccount
{
public:
    explicit ExposureAccount(parallel::Group world) : world_(std::move(world)) {}
    void add(const parallel::BucketReport& step);
    /// Means over ranks and the steps since the last call: `exchange/hidden_s`, `exchange/exposed_s`; the rank that
    /// arrived last, `exchange/straggler_rank`, and how long the others waited for it on average,
    /// `exchange/straggler_s`. Nothing in a world of one. @collective
    [[nodiscard]] std::vector<std::pair<std::string, double>> take_means();
    /// One row a rank, over all steps. @collective
    [[nodiscard]] std::vector<ExposureRow> rows() const;

private:
    struct Sums {
        double steps = 0, backward_s = 0, hidden_s = 0, exposed_s = 0;
    };
    parallel::Group world_;
    Sums total_, interval_;
    double intervals_ = 0, straggled_ = 0;
};

/// The rows as a table with a sentence; empty in a world of one.
[[nodiscard]] std::vector<std::string> exposure_table(const std::vector<ExposureRow>& rows);

} // namespace gradwind::train
