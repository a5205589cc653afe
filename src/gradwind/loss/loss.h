// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Training losses and the factory that builds them from a configuration (spec §7).
#pragma once
#include "gradwind/loss/scalers.h"
#include "gradwind/parallel/member_exchange.h"
#include "gradwind/parallel/sharding.h"

#include <memory>
#include <optional>
#include <span>

namespace gradwind::loss
{

/// Rows [begin, end) of the data nodes, or of those of a share, that prediction and target hold.
struct GridSlice {
    int64_t begin = 0;
    int64_t end = 0;
};

/// Which of the data nodes prediction and target hold where a model group shares the grid.
struct GridShare {
    parallel::Group group;
    parallel::Partition partition; ///< of all data nodes over the group
    parallel::RowSet rows;         ///< those of this rank
};

enum class Squash { Mean, Sum }; ///< over the variables; training uses Mean

/// What changes from batch to batch and from rank to rank.
struct LossContext {
    std::optional<GridSlice> grid = {}; ///< nothing: the whole grid
    /// Divide by this number of samples in place of the batch's own: the global batch, so that ranks' shares add up.
    std::optional<double> samples = {};
    Squash squash = Squash::Mean;
    at::Tensor nan_mask = {}; ///< [B, N of the slice, V_out] from the imputers; undefined: nothing was imputed
    at::Tensor weights = {};  ///< of WeightedMSELoss, broadcastable to the selected columns of the prediction
    /// The operands are this rank's part of fields that a model group holds; null: they are as `grid` says.
    std::shared_ptr<const GridShare> share = {};
    /// Where other ranks hold more members of the ensemble: the value is then of all members on this rank's range of
    /// its grid points (@collective, forward and backward). Null: the prediction has all members.
    std::shared_ptr<const parallel::MemberExchange> members = {};
};

/// A loss. Its values are shares: those of disjoint grid slices, and with `samples` those of disjoint batches, add up
/// to the loss of the whole wherever additive() holds. In a model group (`share`) they always do: a loss that is no sum
/// over grid points is then computed from the whole fields on every rank, each of which has an equal share in it
/// (@collective, forward and backward). Over the ranks of an ensemble (`members`) only losses with additive() are
/// there.
///
/// Operands are in normalised space: prediction [B, T, E, N, V_out], target [B, T, 1, N, V_dataset]. Sums are taken in
/// double; the result has the prediction's type (float for half types) and is the same on every run.
class Loss
{
public:
    virtual ~Loss() = default;
    /// The share of the loss as a tensor of no dimensions. @throws ShapeError, or ConfigError where a share is
    /// asked of a loss that is not additive
    [[nodiscard]] at::Tensor operator()(const at::Tensor& pred, const at::Tensor& target,
                                        const LossContext& context = {}) const;
    /// The same without the reduction over variables: [V_out], 0 where a variable does not enter.
    [[nodiscard]] at::Tensor per_variable(const at::Tensor& pred, const at::Tensor& target,
                                          const LossContext& context = {}) const;
    /// The mean over each list of output columns: [number of lists], 0 where none of a list's columns enters.
    [[nodiscard]] at::Tensor by_range(const at::Tensor& pred, const at::Tensor& target,
                                      std::span<const std::vector<int64_t>> ranges,
                                      const LossContext& context = {}) const;

    /// The original's name of the loss in logs: "lossvariablemapper" for every plain loss.
    [[nodiscard]] virtual std::string name() const = 0;
    /// Whether shares of disjoint slices and batches add up; false for the square root of RMSELoss.
    [[nodiscard]] virtual bool additive() const = 0;
    /// Whether a value needs the fields of all grid points, though shares of disjoint slices might add up.
    [[nodiscard]] virtual bool needs_whole_grid() const { return false; }
    /// Whether a scaler multiplies along this axis anywhere in the loss.
    [[nodiscard]] virtual bool has_scaler(ScalerAxis axis) const = 0;

    /// How the values by variable become the result.
    struct Reduction {
        enum class Kind { All, PerVariable, Ranges };
        Kind kind = Kind::All;
        std::span<const std::vector<int64_t>> ranges = {};
        enum class TimeScalers { Apply, LeaveOut };
        TimeScalers time = TimeScalers::Apply;
    };
    /// Every public evaluation ends here; called by losses that hold others. The result is in double.
    [[nodiscard]] virtual at::Tensor evaluate(const at::Tensor& pred, const at::Tensor& target,
                                              const LossContext& context, const Reduction& reduction) const = 0;
    /// Product of the time scalers, [T] or [1] double.
    [[nodiscard]] virtual at::Tensor time_weights() const = 0;
};

/// Evaluation of a loss or of a part of one, with what other ranks hold brought in where that is needed. The result is
/// in double. @throws ConfigError for members on other ranks and a loss that is no sum over grid points
[[nodiscard]] at::Tensor evaluate_part(const Loss& part, const at::Tensor& pred, const at::Tensor& target,
                                       const LossContext& context, const Loss::Reduction& reduction);

/// Builds a loss from `training.training_loss` (or one entry of `training.validation_metrics`) of one data set.
///
/// Plain losses MSELoss, MAELoss, RMSELoss, HuberLoss, LogCoshLoss, WeightedMSELoss, CRPS; EnergyScoreLoss;
/// CombinedLoss; TimeAggregateLossWrapper; MultiscaleLossWrapper. Keys: `scalers` with "*" and
/// "!name", `predicted_variables`, `target_variables`, `ignore_nans`, options of the class.
/// @param scalers         `training.scalers` of the data set
/// @param variable_groups `training.variable_groups` of the data set
/// @throws ConfigError for whatever cannot work, naming the key, where it is written and the nearest known one
[[nodiscard]] std::unique_ptr<Loss> build_loss(const Config& training_loss, const Config& scalers,
                                               const Config& variable_groups, const LossInputs& inputs);

/// The same with scalers that several losses share.
[[nodiscard]] std::unique_ptr<Loss> build_loss(const Config& training_loss, const ScalerSet& scalers);

} // namespace gradwind::loss
