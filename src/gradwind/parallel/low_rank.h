// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Gradients exchanged as low-rank factors with error feedback; private to parallel.
#pragma once
#include "gradwind/parallel/engine_options.h"
#include "gradwind/parallel/exchange.h"
#include "gradwind/parallel/gradient_piece.h"
#include "gradwind/parallel/lane.h"

#include <functional>
#include <string>
#include <utility>

namespace gradwind::parallel::detail
{

/// Sums gradients over ranks as factors of rank r: matrices of one shape in one product, one message a bucket.
///
/// The gradient arena is the memory of what was not sent: it is not zeroed where matrices are compressed, so autograd
/// adds the new gradient g to the error E and M = E + g is there without a pass of its own. ACP alternates (spec §3.5):
///   P step: P_w = M B, E = M - P_w B^T with B = orth(last sum of Q); the sum P of P_w gives the gradient P B^T
///   Q step: Q_w = M^T B, E = M - B Q_w^T with B = orth(last sum of P); the sum Q gives B Q^T
/// On a GPU what a Q step takes off M leaves the arena in the next P step, which reads and writes it anyway; settle()
/// is for those who look before. PowerSGD does both in each step with two messages; E = M - B Q_w^T. Either way the
/// error is against the rank's own projection: the sum over steps of gradients applied, plus the errors of all ranks,
/// is the sum of all gradients. Everything else (vectors, matrices where it does not pay) travels dense, behind the
/// factors of its bucket.
class LowRankExchange : public Exchange
{
public:
    LowRankExchange(WorldSum sum, const CompressionOptions& options, at::Device device);
    ~LowRankExchange() override;

    /// Buckets end at ends of slices. Factors are kept, by name.
    void lay_out(const Arena& arena, const std::vector<int64_t>& ends) override;
    /// Before backward: zeroes what travels dense and makes the bases of this step, beside the forward pass.
    void begin_step();
    void launch(size_t bucket) override;
    void wait(size_t bucket) override;
    [[nodiscard]] std::function<bool()> probe(size_t bucket) const override;
    [[nodiscard]] int64_t wire_bytes(size_t bucket) const override;
    [[nodiscard]] int64_t buffer_bytes() const override;
    /// All buckets are summed: the next step is of the other kind.
    void end_step();
    /// Between steps: the arena holds the errors.
    void settle();
    /// The step that ended is not applied: its error and factors are dropped.
    void discard_step();

    /// Gradients to apply after end_step(): factors where they are, the rest from the messages.
    [[nodiscard]] const std::vector<GradientPiece>& pieces() const;
    /// The same multiplied out, in the order of the arena, zeros in the gaps; for whoever asks.
    [[nodiscard]] const at::Tensor& applied() const;
    /// Factors by name ("p.<parameter>", "q.<parameter>"), to be written or filled, and the kind of the next step.
    [[nodiscard]] std::vector<std::pair<std::string, at::Tensor>> factors() const;
    [[nodiscard]] bool next_is_p() const;
    void set_next_is_p(bool value);
    /// Slices that are compressed.
    [[nodiscard]] std::vector<Slice> compressed() const;

private:
    class Impl;
    std::shared_ptr<Impl> impl_;
    void run_in_line(size_t job);

    /// ACP on a GPU is part of backward's own stream: a pass over memory between two products takes as long as memory
    /// needs, beside them it breaks up their waves of blocks and takes them longer; and a recorded step that is one
    /// chain of kernels starts each of them sooner than one with branches.
    const bool in_line_;
    std::vector<uint64_t> tickets_;
    std::unique_ptr<Lane> lane_; ///< null where all is in line
};

} // namespace gradwind::parallel::detail
