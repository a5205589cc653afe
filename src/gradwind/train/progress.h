// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Where a training reports to: a terminal, a log, a test.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace gradwind::train
{

/// How far a training is. Rates are means since the previous report.
struct StepProgress {
    int64_t step = 0;    ///< optimiser steps done
    int64_t n_steps = 0; ///< of the whole run
    int64_t epoch = 0;
    int64_t rollout = 1;
    std::optional<double> loss; ///< of the whole global batch; only where it was worked out
    double lr = 0;
    double steps_per_s = 0;
    double samples_per_s = 0;
};

/// Results of a validation, by Anemoi's names.
struct ValidationResult {
    int64_t step = 0;
    int64_t epoch = 0;
    int64_t n_samples = 0;
    std::vector<std::pair<std::string, double>> values;
};

/// Called on rank 0 only, from the training thread.
class ProgressSink
{
public:
    virtual ~ProgressSink() = default;
    /// A line for the log: what was found, built, saved.
    virtual void note(const std::string& line) = 0;
    /// After every optimiser step; the sink decides what it shows.
    virtual void step(const StepProgress& progress) = 0;
    /// While a validation runs.
    virtual void validating(int64_t batch, int64_t n_batches) = 0;
    virtual void validated(const ValidationResult& result) = 0;
};

/// Tells nobody.
class NoProgress : public ProgressSink
{
public:
    void note(const std::string&) override {}
    void step(const StepProgress&) override {}
    void validating(int64_t, int64_t) override {}
    void validated(const ValidationResult&) override {}
};

} // namespace gradwind::train
