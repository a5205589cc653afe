// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The loss of a batch over a rollout.
#pragma once
#include "gradwind/loss/loss.h"
#include "gradwind/model/several_datasets.h"
#include "gradwind/train/task.h"

#include <functional>
#include <span>
#include <string>
#include <vector>

namespace gradwind::train
{

/// One data set in a rollout. What is referred to must outlive the call.
struct RolloutDataset {
    std::string name; ///< as the model knows it
    const VariableTable& variables;
    at::Tensor batch;                 ///< normalised, [B, T, E, N, V_dataset] with T as ForecasterTask lays it out
    const loss::Loss* loss = nullptr; ///< null: the model reads this data set only
    loss::LossContext context = {}; ///< at every step; with `samples` the result is this batch's share of a larger one
    at::Tensor inside = {};         ///< [N] bool: nodes that keep their predictions in a rollout; undefined: all
};

/// What a rollout step is told about; prediction [B, T_out, E, N, V_out], target [B, T_out, 1, N, V_dataset].
/// @param dataset  its number
using RolloutVisitor =
    std::function<void(size_t dataset, int64_t rollout_step, const at::Tensor& prediction, const at::Tensor& target)>;

/// The members that this process computes.
struct OwnMembers {
    int64_t count = 1;
    const model::NoiseSource* noise = nullptr; ///< what tells them apart; needed by ensemble models
};

struct RolloutLoss {
    at::Tensor total;              ///< mean over the steps of the sum over the data sets
    std::vector<at::Tensor> parts; ///< by data set, of the last step; undefined without a loss
};

/// Runs the model n_rollout times, each time on its own predictions (spec §7.5, §9).
///
/// @param datasets all that the model reads or writes. Over several steps each must have a loss, since what is not
///                 predicted cannot be read again
/// @param visitor  called after every step for every data set with a loss, where there is one
/// @param members  all start from the batch, which holds one
/// @gradient of the total, through the whole rollout; nothing is detached
[[nodiscard]] RolloutLoss rollout_loss(model::SeveralDatasetsModel& model, std::span<const RolloutDataset> datasets,
                                       const ForecasterTask& task, int64_t n_rollout,
                                       const RolloutVisitor& visitor = {}, const OwnMembers& members = {});

} // namespace gradwind::train
