// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/step_loss.h"

#include "gradwind/model/rollout.h"

#include <ATen/ATen.h>

namespace gradwind::train
{

at::Tensor rollout_loss(model::ForecastModel& model, const loss::Loss& loss, const at::Tensor& batch,
                        const ForecasterTask& task, const VariableTable& variables, int64_t n_rollout,
                        const loss::LossContext& context, const RolloutVisitor& visitor, const OwnMembers& members)
{
    auto x = model::first_input(batch, task.n_step_input, variables); // [B, T_in, E, N, V_in]
    if (members.count > 1)
        x = x.expand({-1, -1, members.count, -1, -1});
    at::Tensor total;
    for (int64_t step = 0; step < n_rollout; ++step) {
        const auto prediction =
            model.forward(x, {.rollout_step = step, .noise = members.noise}); // [B, T_out, E, N, V_out]
        const auto target = model::target_of(batch, task.n_step_input, task.n_step_output, step);
        const auto value = loss(prediction, target, context);
        total = total.defined() ? total + value : value;
        if (visitor)
            visitor(step, prediction, target);
        if (step + 1 < n_rollout)
            x = model::advance_input(x, prediction, batch, step, variables);
    }
    return total * (1.0 / double(n_rollout));
}

} // namespace gradwind::train
