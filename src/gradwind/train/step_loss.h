// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The loss of a batch over a rollout.
#pragma once
#include "gradwind/loss/loss.h"
#include "gradwind/model/model.h"
#include "gradwind/train/task.h"

#include <functional>

namespace gradwind::train
{

/// What a rollout step is told about; prediction [B, T_out, E, N, V_out], target [B, T_out, 1, N, V_dataset].
using RolloutVisitor =
    std::function<void(int64_t rollout_step, const at::Tensor& prediction, const at::Tensor& target)>;

/// The members that this process computes.
struct OwnMembers {
    int64_t count = 1;
    const model::NoiseSource* noise = nullptr; ///< what tells them apart; needed by ensemble models
};

/// Runs the model n_rollout times, each time on its own prediction, and returns the mean of the losses (spec §7.5, §9).
///
/// @param batch    normalised, [B, T, E, N, V_dataset] with T as ForecasterTask lays it out
/// @param context  given to the loss at every step; with `samples` the result is this batch's share of a larger one
/// @param visitor  called after every step, where there is one
/// @param members  all start from the batch, which holds one
/// @gradient through the whole rollout, nothing is detached
[[nodiscard]] at::Tensor rollout_loss(model::ForecastModel& model, const loss::Loss& loss, const at::Tensor& batch,
                                      const ForecasterTask& task, const VariableTable& variables, int64_t n_rollout,
                                      const loss::LossContext& context, const RolloutVisitor& visitor = {},
                                      const OwnMembers& members = {});

} // namespace gradwind::train
