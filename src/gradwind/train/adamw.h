// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// AdamW over flat arenas of parameters and gradients, with clipping.
#pragma once
#include "gradwind/parallel/arena.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace gradwind::train
{

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

/// AdamW as torch defines it (decoupled weight decay, bias correction), over every element of the slices.
///
/// Float32 on a CPU is one pass over 28 bytes a parameter, threaded; everything else goes through tensor operations.
/// Results do not depend on the number of threads. @source spec §11
class AdamW
{
public:
    /// @param parameters, gradients  flat, contiguous, equal size, dtype and device; both are used in place
    AdamW(std::vector<parallel::Slice> slices, at::Tensor parameters, at::Tensor gradients, const AdamWOptions& options,
          const ClipOptions& clip);

    /// The arenas were laid out anew: moments move along. Old slices are those of the last call, or the constructor's.
    void move_to(std::vector<parallel::Slice> slices, at::Tensor parameters, at::Tensor gradients);

    /// Clips and applies one step with this rate; a gradient that is not finite leaves weights and moments untouched.
    OptimizerStep step(double lr);
    [[nodiscard]] int64_t steps() const { return steps_; }
    [[nodiscard]] const at::Tensor& exp_avg() const { return exp_avg_; }
    [[nodiscard]] const at::Tensor& exp_avg_sq() const { return exp_avg_sq_; }

    /// Moments under `exp_avg.<parameter>` and `exp_avg_sq.<parameter>`, in the parameters' shapes: views of the
    /// arenas, to be written to a checkpoint or filled from one.
    [[nodiscard]] std::vector<std::pair<std::string, at::Tensor>> state() const;
    /// What the bias correction of restored moments needs.
    void restore_step_count(int64_t steps) { steps_ = steps; }

private:
    [[nodiscard]] double gradient_norm() const;
    [[nodiscard]] std::string first_non_finite() const;
    void apply_fused(double lr, double scale);
    void apply_generic(double lr, double scale);

    std::vector<parallel::Slice> slices_;
    at::Tensor parameters_, gradients_, exp_avg_, exp_avg_sq_;
    AdamWOptions options_;
    ClipOptions clip_;
    int64_t steps_ = 0;
};

} // namespace gradwind::train
