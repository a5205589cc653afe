// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// A loss on fields of several scales, private to this layer.
#pragma once
#include "gradwind/loss/loss.h"
#include "gradwind/ops/projection.h"

namespace gradwind::loss
{

/// Weighted sum of one loss on the coarsest scale and on the differences between scales that follow each other, from
/// coarse to fine (spec §6.6).
class MultiscaleLoss final : public Loss
{
public:
    struct Scale {
        double weight = 1;
        std::optional<ops::Projection> smoothing; ///< absent: the field as it is
    };
    MultiscaleLoss(std::vector<Scale> scales, std::unique_ptr<Loss> inner);
    [[nodiscard]] size_t n_scales() const { return scales_.size(); }
    [[nodiscard]] const Loss& inner() const { return *inner_; }
    [[nodiscard]] std::string name() const override { return "MultiscaleLossWrapper"; }
    [[nodiscard]] bool additive() const override { return inner_->additive(); }
    [[nodiscard]] bool needs_whole_grid() const override;
    [[nodiscard]] bool has_scaler(ScalerAxis axis) const override { return inner_->has_scaler(axis); }
    [[nodiscard]] at::Tensor time_weights() const override { return inner_->time_weights(); }
    [[nodiscard]] at::Tensor evaluate(const at::Tensor& pred, const at::Tensor& target, const LossContext& context,
                                      const Reduction& reduction) const override;

private:
    mutable std::vector<Scale> scales_; ///< follow the device of the operands
    std::unique_ptr<Loss> inner_;
};

} // namespace gradwind::loss
