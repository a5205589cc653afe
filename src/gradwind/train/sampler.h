// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Which samples each optimiser step uses, and which of them this replica reads.
#pragma once
#include "gradwind/train/numpy_random.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace gradwind::train
{

/// `dataloader.sample_order`.
enum class SampleOrder {
    Global, ///< step s uses perm(epoch)[s*B : (s+1)*B], whichever replica reads them: independent of the layout
    Anemoi, ///< the original's slices per sample group and loader worker (spec §10.3): depends on the layout
};
enum class Shuffle { No, Yes };
/// Whether the random stream goes on from epoch to epoch or starts anew with each epoch's own seed (spec §10.3).
enum class Stream { Continued, RestartedEachEpoch };

/// How many batches of each replica an epoch has at most: a number, or a fraction of all there are.
struct BatchLimit {
    std::optional<int64_t> batches{};
    double fraction = 1;
    [[nodiscard]] int64_t of(int64_t n_batches) const;
};

struct SamplerOptions {
    SampleOrder order = SampleOrder::Global;
    Shuffle shuffle = Shuffle::Yes;
    Stream stream = Stream::Continued;
    uint64_t base_seed = 42;
    int64_t batch_size = 1;      ///< most samples of one forward pass of one replica
    int64_t effective_batch = 1; ///< Global: samples of one optimiser step over all replicas
    int64_t accumulation = 1;    ///< Anemoi: forward passes of one optimiser step
    int64_t n_replicas = 1;
    int64_t replica = 0;
    int64_t n_workers = 1; ///< Anemoi: loader workers whose batches alternate
    BatchLimit limit{};
};

/// One forward pass of this replica: indices into the list of valid anchors, and what every sample's loss is scaled by
/// so that the sum over all passes and ranks is the step's loss (design §4 "Gradients").
struct MicroBatch {
    std::vector<int64_t> samples; ///< empty where the replica has no sample left; it still joins every collective
    double sample_weight = 0;
    int64_t first_position = 0; ///< of its first sample among all of the optimiser step; the others follow
};

/// One optimiser step as this replica sees it.
struct StepSamples {
    int64_t epoch = 0;
    int64_t step_in_epoch = 0;
    std::vector<MicroBatch> micro_batches; ///< equally many on every replica
    int64_t n_global = 0;                  ///< samples of all replicas in this step
};

/// What resumes the order exactly. `stream` is the state before the epoch's permutation was drawn.
struct SamplerState {
    int64_t epoch = 0;
    int64_t samples_done = 0; ///< of this epoch, over all replicas
    int64_t steps_done = 0;   ///< of this epoch
    std::optional<Pcg64::State> stream{};
};

/// The order of samples over the epochs of a run; every rank holds an equal one.
///
/// Usage: begin_epoch(number of anchors), then step(k) for k < n_steps(), advance() after each finished step,
/// end_epoch(). @source design §4, spec §10.3; golden `sampler`
class Sampler
{
public:
    explicit Sampler(const SamplerOptions& options, const SamplerState& state = {});

    /// Draws the order of the current epoch over n_anchors samples; a resumed epoch goes on where it stopped.
    /// @throws ConfigError if an epoch would have no step
    void begin_epoch(int64_t n_anchors);
    [[nodiscard]] int64_t epoch() const { return state_.epoch; }
    [[nodiscard]] int64_t n_steps() const { return n_steps_; }
    /// Steps of this epoch that are done: where a resumed epoch goes on.
    [[nodiscard]] int64_t next_step() const { return state_.steps_done; }
    [[nodiscard]] StepSamples step(int64_t step_in_epoch) const;
    void advance();
    void end_epoch();
    /// The current order of all samples, or of this replica's (Anemoi) one worker after the other.
    [[nodiscard]] const std::vector<int64_t>& order() const { return order_; }
    [[nodiscard]] const SamplerState& state() const { return state_; }
    [[nodiscard]] const SamplerOptions& options() const { return options_; }

private:
    void plan_global(int64_t n_anchors);
    void plan_anemoi(int64_t n_anchors);
    [[nodiscard]] int64_t first_sample(int64_t step_in_epoch) const { return step_in_epoch * options_.effective_batch; }

    SamplerOptions options_;
    SamplerState state_;
    std::optional<Pcg64> stream_;
    std::vector<int64_t> order_;
    std::vector<std::vector<int64_t>> batches_; ///< Anemoi: this replica's batches as the loader delivers them
    int64_t n_used_ = 0;                        ///< Global: samples of the epoch after limit_batches
    int64_t n_steps_ = 0;
};

} // namespace gradwind::train
