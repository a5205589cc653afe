// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Everything that the steps of a training work on, in this process.
#pragma once
#include "gradwind/model/noise_source.h"
#include "gradwind/parallel/world.h"
#include "gradwind/train/losses.h"
#include "gradwind/train/run_state.h"
#include "gradwind/train/setup.h"
#include "gradwind/train/stage.h"
#include "gradwind/train/step_loss.h"

#include <memory>
#include <optional>
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
    parallel::Sharding sharding{};                             ///< of the model over its group
    std::shared_ptr<const parallel::MemberExchange> members{}; ///< with the ranks that hold the others of an ensemble
    at::Device device = at::kCPU;
    at::ScalarType dtype = at::kFloat;
    std::optional<Stage> training{}, validation{}; ///< validation is nothing where there is none
    // By data set, in the order of the stages:
    std::vector<ModelDataset> datasets{};
    std::vector<Losses> losses{};
    std::vector<std::shared_ptr<const loss::GridShare>> shares{}; ///< which cells this process works on
    std::vector<at::Tensor> insides{}; ///< of them, those that keep predictions in a rollout; undefined: all
    std::shared_ptr<model::SeveralDatasetsModel> model{};

    [[nodiscard]] bool is_first() const { return groups.world.rank() == 0; }
    /// Whether shares of batches and processes in the loss add up.
    [[nodiscard]] bool additive() const;
    /// A batch of this process for its data sets, processed: what was read becomes what is worked on.
    /// @param samples  of the global batch, where this batch's share of its loss is wanted
    /// @collective the reader group @param masks  of the processing, by data set
    [[nodiscard]] std::vector<RolloutDataset> prepare(const Stage& stage, std::vector<at::Tensor>& values,
                                                      std::optional<double> samples,
                                                      std::vector<model::BatchMasks>& masks) const;
    /// What the loss of a data set has to know about a batch of this process. @param masks  of its processing
    [[nodiscard]] loss::LossContext loss_context(size_t dataset, const model::BatchMasks& masks) const;
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
