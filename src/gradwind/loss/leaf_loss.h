// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Losses over one kind of point error, private to this layer.
#pragma once
#include "gradwind/loss/error_sums.h"
#include "gradwind/loss/loss.h"

namespace gradwind::loss
{

/// Scalers of a loss multiplied together by axis, for the variables it selects.
struct CombinedScalers {
    at::Tensor variable; ///< [V selected], double
    at::Tensor grid;     ///< [N], double; undefined: every point counts 1
    at::Tensor time;     ///< [T] or [1], double
    bool nan_mask = false;
    bool any_variable = false;
    bool any_time = false;
    [[nodiscard]] bool has(ScalerAxis axis) const;
};

/// The factors in float32 as the original holds them, their product in double.
/// @throws ConfigError if there are scalers but none along the grid
[[nodiscard]] CombinedScalers combine_scalers(const std::vector<Scaler>& scalers,
                                              const std::vector<int64_t>& pred_columns, const std::string& where);

/// Turns values of the selected variables [V], double, into what a reduction asks for.
[[nodiscard]] at::Tensor reduce_variables(const at::Tensor& values, const std::vector<int64_t>& pred_columns,
                                          int64_t n_output, Squash squash, const Loss::Reduction& reduction);

/// The grid weights of a slice or share, or ones, where the prediction is. @throws ShapeError if it does not fit
/// weights or prediction
[[nodiscard]] at::Tensor slice_weights(const at::Tensor& grid, const LossContext& context, const at::Tensor& pred);

/// @throws ConfigError if the context asks for a share of a loss that is no sum of shares
void require_whole(const LossContext& context, const at::Tensor& grid, const at::Tensor& pred, const char* loss);

enum class Root { None, Square }; ///< RMSELoss takes the root of the reduced value

class LeafLoss final : public Loss
{
public:
    LeafLoss(ErrorSpec spec, CombinedScalers scalers, Root root);
    [[nodiscard]] std::string name() const override { return "lossvariablemapper"; }
    [[nodiscard]] bool additive() const override { return root_ == Root::None; }
    [[nodiscard]] bool has_scaler(ScalerAxis axis) const override { return scalers_.has(axis); }
    [[nodiscard]] at::Tensor time_weights() const override { return scalers_.time; }
    [[nodiscard]] at::Tensor evaluate(const at::Tensor& pred, const at::Tensor& target, const LossContext& context,
                                      const Reduction& reduction) const override;

private:
    ErrorSpec spec_;
    CombinedScalers scalers_;
    Root root_;
};

} // namespace gradwind::loss
