// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Everything that the steps of a training work on, in this process.
#pragma once
#include "gradwind/data/dataset.h"
#include "gradwind/loss/metrics.h"
#include "gradwind/model/model.h"
#include "gradwind/model/noise_source.h"
#include "gradwind/model/processors.h"
#include "gradwind/parallel/world.h"
#include "gradwind/train/cell_reader.h"
#include "gradwind/train/run_state.h"
#include "gradwind/train/setup.h"

#include <memory>
#include <string>
#include <vector>

namespace gradwind::train
{

/// What noise is drawn for; each has numbers of its own.
enum class NoisePurpose : uint32_t { Training = 0, Validation = 1, Forecast = 2 };

/// The key of all numbers that a base seed gives for a purpose.
[[nodiscard]] uint64_t noise_key(uint64_t base_seed, NoisePurpose purpose);

struct Job {
    Config config;
    TrainSettings settings;
    parallel::Groups groups;
    parallel::Sharding sharding;                               ///< of the model over its group
    std::shared_ptr<const loss::GridShare> share{};            ///< which cells this process works on
    std::shared_ptr<const parallel::MemberExchange> members{}; ///< with the ranks that hold the others of an ensemble
    at::Device device = at::kCPU;
    at::ScalarType dtype = at::kFloat;
    std::shared_ptr<const data::Dataset> training, validation;              ///< validation is null where there is none
    std::shared_ptr<const CellReader> training_cells{}, validation_cells{}; ///< of these, what this process reads
    VariableTable variables;
    Statistics statistics; ///< of the training data, as the normaliser left them
    std::unique_ptr<model::Processors> processors;
    std::shared_ptr<model::ForecastModel> model;
    std::unique_ptr<loss::Loss> loss;
    std::vector<loss::ValidationMetric> metrics;
    std::vector<loss::MetricRange> ranges;

    [[nodiscard]] bool is_first() const { return groups.world.rank() == 0; }
    /// What the loss has to know about a batch of this process. @param masks  of its processing
    [[nodiscard]] loss::LossContext loss_context(const model::BatchMasks& masks) const;
    /// The noise of this process's members in one batch. @param samples  of the batch: numbers that tell them apart
    [[nodiscard]] model::CounterNoise noise(NoisePurpose purpose, int64_t step, std::vector<int64_t> samples) const;
};

/// @param variables  of the environment, for seeds
/// @param notes      what was found and built, for the log
/// @collective all processes of the job
[[nodiscard]] Job make_job(const Config& config, const parallel::Environment& environment,
                           const parallel::Variables& variables, std::vector<std::string>& notes);

/// Effective rate and batch of a job by its own layout.
[[nodiscard]] Reference reference_of(const Job& job);

/// The sampler of a stage under a reference. @param stage "training" or "validation"
[[nodiscard]] SamplerOptions sampler_options(const Job& job, const Reference& reference, const StageSettings& stage);

} // namespace gradwind::train
