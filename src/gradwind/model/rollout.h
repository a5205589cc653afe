// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// From one forecast step to the next (spec §9).
#pragma once
#include "gradwind/core/variables.h"

#include <ATen/core/Tensor.h>

namespace gradwind::model
{

/// Position on the batch's time axis of the first output of rollout step `step` (0-based).
[[nodiscard]] constexpr int64_t first_output_time(int64_t n_step_input, int64_t n_step_output, int64_t step)
{
    return n_step_input + step * n_step_output;
}

/// The model's input of rollout step 0.
/// @param batch [batch, time, ensemble, n_nodes, n_dataset], normalised @return [batch, n_step_input, ..., n_input]
[[nodiscard]] at::Tensor first_input(const at::Tensor& batch, int64_t n_step_input, const VariableTable& variables);

/// What a prediction of step `step` is compared with: all variables of the data set.
/// @return [batch, n_step_output, ensemble, n_nodes, n_dataset] @throws ShapeError if the batch is too short
[[nodiscard]] at::Tensor target_of(const at::Tensor& batch, int64_t n_step_input, int64_t n_step_output, int64_t step);

/// The model's input of step `step + 1`: older steps move up, the newest are the prediction's prognostic columns with
/// the batch's forcings. Gradients flow into the prediction.
///
/// @param x [batch, n_step_input, ensemble, n_nodes, n_input], the input of step `step`
/// @param y_pred [batch, n_step_output, ensemble, n_nodes, n_output], its prediction
/// @param batch [batch, time, 1 or ensemble, n_nodes, n_dataset]
/// @param inside [n_nodes] bool: nodes that keep the prediction; the others (a limited area's boundary) get the
///        batch's true state. Undefined: all nodes
/// @throws ShapeError if the batch is too short
[[nodiscard]] at::Tensor advance_input(const at::Tensor& x, const at::Tensor& y_pred, const at::Tensor& batch,
                                       int64_t step, const VariableTable& variables, const at::Tensor& inside = {});

} // namespace gradwind::model
