// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// AdamW over flat arenas of parameters and gradients, with clipping; all of it, or this process's share.
#pragma once
#include "gradwind/parallel/arena.h"
#include "gradwind/parallel/gradient_piece.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace gradwind::train
{

namespace detail
{
struct AdamWPiece;
struct AdamWRates;
class DeviceAdamW;
} // namespace detail

struct AdamWOptions {
    double beta1 = 0.9, beta2 = 0.95;
    double eps = 1e-8;
    double weight_decay = 0.01;
};

enum class ClipKind { None, Value, Norm };
struct ClipOptions {
    ClipKind kind = ClipKind::None;
    double threshold = 0; ///< largest absolute element (Value) or largest total L2 norm (Norm)
};

/// What one optimiser step did.
struct OptimizerStep {
    double grad_norm = 0; ///< L2 over all parameters before clipping, summed in double
    bool applied = true;  ///< false: a gradient was not finite, nothing was changed
    std::string non_finite_parameter{};
};

/// Moments in the order and length of the arena.
struct Moments {
    at::Tensor exp_avg, exp_avg_sq;
};

/// AdamW as torch defines it (decoupled weight decay, bias correction), over every element of the slices.
///
/// Float32 is one pass over 28 bytes a parameter after one over the gradients for their norm: threaded on a CPU; on a
/// GPU in kernels that also decide about clipping and skipping, so that the host need not wait. Gradients that come as
/// factors are multiplied on the way, and their norm is taken from the factors. Other types go through tensor
/// operations. Results do not depend on the number of threads. @source spec §11, data-parallel §3.5
class AdamW
{
public:
    /// @param parameters, gradients  flat, contiguous, equal size, dtype and device; both are used in place
    AdamW(std::vector<parallel::Slice> slices, at::Tensor parameters, at::Tensor gradients, const AdamWOptions& options,
          const ClipOptions& clip, parallel::StateShare share = {});
    ~AdamW();
    AdamW(const AdamW&) = delete;
    AdamW& operator=(const AdamW&) = delete;

    /// The arenas were laid out anew, or shared otherwise: moments move along. Old slices are those of the last call,
    /// or the constructor's. @collective if the state is shared
    void move_to(std::vector<parallel::Slice> slices, at::Tensor parameters, at::Tensor gradients,
                 parallel::StateShare share = {});

    /// Clips and applies one step with this rate; gradients that are not finite leave weights and moments untouched.
    /// @collective if the state is shared
    OptimizerStep step(double lr);
    /// The same, of gradients that are not (all) in the tensor given before. What no piece covers stays as it is.
    OptimizerStep step(double lr, std::span<const parallel::GradientPiece> pieces);
    /// step() in two halves: on a GPU the first returns before anything was computed. The pieces have to stay.
    void queue(double lr, std::span<const parallel::GradientPiece> pieces);
    OptimizerStep verdict();

    [[nodiscard]] int64_t steps() const { return steps_; }
    [[nodiscard]] const at::Tensor& exp_avg() const { return exp_avg_; }
    [[nodiscard]] const at::Tensor& exp_avg_sq() const { return exp_avg_sq_; }
    /// Bytes of the moments that this process holds.
    [[nodiscard]] int64_t state_bytes() const;

    /// Moments under `exp_avg.<parameter>` and `exp_avg_sq.<parameter>`, in the parameters' shapes, to be written to a
    /// checkpoint: views of this object's where it holds everything, else copies on the CPU, on rank 0 of the group
    /// only. @collective if the state is shared
    [[nodiscard]] std::vector<std::pair<std::string, at::Tensor>> state() const;
    /// Places to be filled from a checkpoint, and then handed to adopt().
    [[nodiscard]] Moments blank() const;
    [[nodiscard]] std::vector<std::pair<std::string, at::Tensor>> named(const Moments& whole) const;
    void adopt(const Moments& whole);
    /// What the bias correction of restored moments needs.
    void restore_step_count(int64_t steps);

private:
    [[nodiscard]] bool is_shared() const { return share_.group.size() > 1; }
    void check_arenas() const;
    [[nodiscard]] at::Tensor gathered(const at::Tensor& own, bool keep) const;
    [[nodiscard]] at::Tensor own_part(const at::Tensor& whole) const;
    [[nodiscard]] detail::AdamWRates rates(double lr) const;
    void point_at(std::span<const parallel::GradientPiece> pieces);
    void cut_into_units();
    [[nodiscard]] double sum_of_squares() const;
    [[nodiscard]] double generic_sum_of_squares(std::span<const parallel::GradientPiece> pieces) const;
    [[nodiscard]] std::string first_non_finite() const;
    void apply_fused(double lr, double norm);
    void apply_generic(double lr, double norm, std::span<const parallel::GradientPiece> pieces);

    std::vector<parallel::Slice> slices_;
    at::Tensor parameters_, gradients_, exp_avg_, exp_avg_sq_;
    AdamWOptions options_;
    ClipOptions clip_;
    parallel::StateShare share_;
    int64_t steps_ = 0;

    /// Rows of a factored piece or elements of a dense one that one thread works on at a time.
    struct Unit {
        size_t piece = 0;
        int64_t first = 0, last = 0;
    };
    std::vector<parallel::GradientPiece> own_pieces_; ///< of the tensor given to the constructor
    std::span<const parallel::GradientPiece> pieces_; ///< of the step under way
    std::vector<detail::AdamWPiece> memory_;          ///< by piece
    std::vector<at::Tensor> transposed_;              ///< q of factored pieces
    std::vector<Unit> units_;
    std::unique_ptr<detail::DeviceAdamW> device_; ///< null where the host decides
    std::optional<OptimizerStep> decided_;        ///< of the step under way, where the host has decided
};

} // namespace gradwind::train
