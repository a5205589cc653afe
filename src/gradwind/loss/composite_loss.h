// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Losses made of other losses, private to this layer.
#pragma once
#include "gradwind/loss/loss.h"

namespace gradwind::loss
{

/// Weighted sum of losses.
class CombinedLoss final : public Loss
{
public:
    struct Part {
        double weight = 1;
        std::unique_ptr<Loss> loss;
    };
    CombinedLoss(std::vector<Part> parts, std::string name);
    [[nodiscard]] const std::vector<Part>& parts() const { return parts_; }
    [[nodiscard]] std::string name() const override { return name_; }
    [[nodiscard]] bool additive() const override;
    [[nodiscard]] bool needs_whole_grid() const override;
    [[nodiscard]] bool has_scaler(ScalerAxis axis) const override;
    [[nodiscard]] at::Tensor time_weights() const override { return parts_.front().loss->time_weights(); }
    [[nodiscard]] at::Tensor evaluate(const at::Tensor& pred, const at::Tensor& target, const LossContext& context,
                                      const Reduction& reduction) const override;

private:
    std::vector<Part> parts_;
    std::string name_;
};

enum class TimeAggregate { Mean, Min, Max, Diff };

/// Mean over aggregations of the output steps, each scored by the inner loss without its time scalers (spec §7.2).
class TimeAggregateLoss final : public Loss
{
public:
    TimeAggregateLoss(std::vector<TimeAggregate> aggregates, std::unique_ptr<Loss> inner);
    [[nodiscard]] const std::vector<TimeAggregate>& aggregates() const { return aggregates_; }
    [[nodiscard]] const Loss& inner() const { return *inner_; }
    [[nodiscard]] std::string name() const override { return "timeaggregatelosswrapper"; }
    [[nodiscard]] bool additive() const override { return inner_->additive(); }
    [[nodiscard]] bool needs_whole_grid() const override { return inner_->needs_whole_grid(); }
    [[nodiscard]] bool has_scaler(ScalerAxis axis) const override { return inner_->has_scaler(axis); }
    [[nodiscard]] at::Tensor time_weights() const override { return inner_->time_weights(); }
    [[nodiscard]] at::Tensor evaluate(const at::Tensor& pred, const at::Tensor& target, const LossContext& context,
                                      const Reduction& reduction) const override;

private:
    [[nodiscard]] at::Tensor differences(const at::Tensor& pred, const at::Tensor& target, const LossContext& context,
                                         const Reduction& reduction) const;

    std::vector<TimeAggregate> aggregates_;
    std::unique_ptr<Loss> inner_;
};

} // namespace gradwind::loss
