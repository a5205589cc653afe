// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Sums the gradients of all ranks while backward is still running.
#pragma once
#include "gradwind/parallel/arena.h"
#include "gradwind/parallel/engine_options.h"
#include "gradwind/parallel/gradient_piece.h"
#include "gradwind/parallel/group.h"

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace gradwind::parallel
{

/// Whether a backward pass is the last of its optimiser step.
enum class Sync { Reduce, Accumulate };

/// What happened to the buckets in one step. Times in seconds since begin_backward(Sync::Reduce), on the host's clock;
/// of a recorded step (recorded_work.h) on the device's, and of its buckets only the first launch.
struct BucketReport {
    struct Bucket {
        int64_t bytes = 0;   ///< of gradients
        int64_t on_wire = 0; ///< handed to collectives; 0 in a world of one
        double ready = 0;    ///< its last gradient was complete
        double launched = 0; ///< its all-reduce was started, which waits for the buckets before it
        double waited = 0;   ///< how long finish() waited for it
        /// Of a watched step only: when the device came to the launch, on its own clock, and when the bucket was
        /// summed.
        double launched_on_device = 0, summed = 0;
    };
    std::vector<Bucket> buckets;
    std::chrono::steady_clock::time_point began{}; ///< begin_backward(Sync::Reduce)
    double backward = 0;                           ///< when finish() was called
    double exposed = 0; ///< from there until all gradients were summed, on the device's clock
    size_t launched_in_backward = 0;
};

/// What an engine holds in this process, in bytes.
struct EngineMemory {
    int64_t parameters = 0, gradients = 0; ///< the arenas, with the gaps between tensors
    int64_t buffers = 0;                   ///< of the exchange, from step to step
};

/// Owns where parameters and gradients lie, and exchanges gradients between ranks.
///
/// One step: begin_step(); for every micro-batch begin_backward() and backward; finish(); then the optimiser works on
/// flat_parameters() and flat_gradients(). A rank without samples leaves out the micro-batches. The sum is not divided:
/// the loss carries the one factor. Parameters may be unused, shared, or used in checkpointed segments.
///
/// The first reduced step records when gradients become ready and exchanges all of them in finish(); there the arena is
/// laid out in that order, once. Every rank has to call the collective functions in the same order.
///
/// Under compression (EngineOptions::compression) the parameters' gradients are where errors collect; what is to be
/// applied is in gradient_pieces(). Where ranks share the optimiser's state (zero_group_size), a rank has the sums of
/// its own parts of the buckets only, and the step ends with share_parameters().
class GradientEngine
{
public:
    /// Re-points the parameters at the arena. Values stay those of this rank until broadcast_parameters().
    /// @collective
    /// @throws ConfigError on all ranks, naming the first difference, if they do not bring the same parameters or
    /// options
    GradientEngine(std::vector<NamedParameter> parameters, Group world, EngineOptions options = {});
    ~GradientEngine();
    GradientEngine(const GradientEngine&) = delete;
    GradientEngine& operator=(const GradientEngine&) = delete;

    /// Zeroes all gradients but the errors that compression keeps.
    void begin_step();
    /// Before each backward of the step; Sync::Reduce exactly once, for the last one.
    void begin_backward(Sync sync);
    /// After the last backward: on return every gradient is the sum over ranks. @collective @throws CommError
    /// @throws InternalError if a gradient was replaced instead of added to
    void finish();

    /// The sums of the step that finish() ended will not be applied, because they are not finite: what compression made
    /// of them, and the errors so far, are dropped. On all ranks.
    void discard_step();

    /// After the optimiser: every rank of a state group gets what the others updated. Nothing where each has it all.
    /// @collective
    void share_parameters();

    /// Stands for what the next step, from begin_step() to finish(), will do with the same gradients: equal numbers
    /// mean the same work on the same memory. Nothing: what it does is not known before (order of gradients, a watched
    /// step).
    [[nodiscard]] std::optional<int64_t> kind_of_next_step() const;
    /// A step that was recorded from begin_step() to finish(), when a step of its kind was next, has been started
    /// again: takes the place of both.
    void repeat_step();

    /// The next backward uses parameters otherwise than the last (another rollout length with checkpointing, say):
    /// record it. The arena stays. To be called on all ranks between two steps.
    void expect_new_graph();

    /// One dimension, zeros in the gaps between slices. Fetch them again when layout_version() has changed.
    [[nodiscard]] at::Tensor flat_parameters() const;
    /// What an optimiser applies after finish(), valid until the next step: the whole arena, this rank's part of every
    /// bucket, or factors.
    [[nodiscard]] const std::vector<GradientPiece>& gradient_pieces() const;
    /// The same in the order of the arena: factors are multiplied out for it. Only own parts mean anything where the
    /// state is shared.
    [[nodiscard]] at::Tensor flat_gradients() const;
    /// flat_gradients() with the parts of all ranks; for whoever looks at them. @collective if the state is shared
    [[nodiscard]] at::Tensor whole_gradients() const;
    /// Where backward adds, in the order of the arena: own errors under compression, own gradients before finish().
    /// What finish() leaves there otherwise is a sum.
    [[nodiscard]] at::Tensor own_gradients() const;
    /// What this rank updates of the arena.
    [[nodiscard]] const StateShare& state_share() const;
    [[nodiscard]] const std::vector<Slice>& slices() const;
    /// Grows when finish() lays the arena out anew, and when ranks come to own other parts of it; state in arena order
    /// is then moved with rearrange().
    [[nodiscard]] int64_t layout_version() const;
    /// Parameter names in arena order; part of what resumes a run bit for bit.
    [[nodiscard]] std::vector<std::string> order() const;

    /// First element after each bucket, in arena order; the last one is the arena's length.
    [[nodiscard]] const std::vector<int64_t>& bucket_ends() const;
    /// Other buckets from the next step on. Between two steps only. @collective
    /// @throws ConfigError if the ends do not grow up to the arena's length, or differ between ranks
    void replan(std::vector<int64_t> bucket_ends);

    /// Rank 0's parameters on all ranks. @collective
    void broadcast_parameters();

    [[nodiscard]] const BucketReport& last_step() const;
    [[nodiscard]] EngineMemory memory() const;
    /// Groups of the exchange besides the world: "zero" or "node", and "zero_across" or "node_across".
    [[nodiscard]] std::vector<Group> groups() const;
    /// The report of the next step also says when each bucket was summed: a thread asks every few microseconds.
    void watch_next_step();

    /// Seconds from the begin of backward to when each slice's gradient was complete, in arena order, in the recorded
    /// step; empty before there was one. Equal on all ranks: the largest of any. @collective
    [[nodiscard]] std::vector<double> ready_times() const;

    /// What resumes a compressed run bit for bit: numbers, factors (equal on all ranks) and this rank's errors.
    struct CompressionState {
        bool active = false;
        bool next_is_p = true;
        std::vector<std::pair<std::string, at::Tensor>> factors, errors; ///< views, by name
    };
    [[nodiscard]] CompressionState compression_state() const;
    /// Begins where a run stood after this many reduced steps; with an order only. Fill compression_state() then.
    void restore(int64_t reduced_steps, const CompressionState& numbers);
    [[nodiscard]] int64_t reduced_steps() const;

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

/// Equal cuts of an arena: one small bucket, then buckets of bucket_cap_mb. @return first element after each
[[nodiscard]] std::vector<int64_t> plan_buckets(int64_t numel, int64_t element_bytes, const EngineOptions& options);

} // namespace gradwind::parallel
