// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The energy score: a norm over space, variables or both of an ensemble's errors, private to this layer.
#pragma once
#include "gradwind/loss/leaf_loss.h"

namespace gradwind::loss
{

/// Which axes one multivariate outcome spans.
enum class EnergyNorm { Spatial, Variables, SpatialAndVariables };

struct EnergyScoreOptions {
    EnergyNorm norm = EnergyNorm::Spatial;
    enum class Form { Fair, Standard };
    Form form = Form::Fair; ///< pairs divided by m (m - 1), or by m^2
    NanPolicy nans = NanPolicy::Propagate;
    std::vector<int64_t> pred_columns, target_columns;
};

/// mean_j |x_j - y| - c sum_{i<j} |x_i - x_j| with weighted Euclidean norms |.| over the chosen axes. Scalers along
/// these axes weigh inside the norm, under the root; the others multiply the score. Steps are scored apart and added.
class EnergyScoreLoss final : public Loss
{
public:
    EnergyScoreLoss(EnergyScoreOptions options, CombinedScalers scalers);
    [[nodiscard]] std::string name() const override { return "lossvariablemapper"; }
    /// A norm over the grid is no sum over slices; over variables alone it is.
    [[nodiscard]] bool additive() const override { return options_.norm == EnergyNorm::Variables; }
    [[nodiscard]] bool has_scaler(ScalerAxis axis) const override { return scalers_.has(axis); }
    [[nodiscard]] at::Tensor time_weights() const override { return scalers_.time; }
    [[nodiscard]] at::Tensor evaluate(const at::Tensor& pred, const at::Tensor& target, const LossContext& context,
                                      const Reduction& reduction) const override;

private:
    struct Weights {
        at::Tensor norm;  ///< broadcastable to [B, T, 1, N, V]
        at::Tensor outer; ///< the same, 1 along the axes of the norm
    };
    [[nodiscard]] Weights split_weights(const at::Tensor& pred, const LossContext& context,
                                        const Reduction& reduction) const;
    [[nodiscard]] at::Tensor norm_of(const at::Tensor& difference, const at::Tensor& weights,
                                     const at::Tensor& valid) const;

    EnergyScoreOptions options_;
    CombinedScalers scalers_;
};

} // namespace gradwind::loss
