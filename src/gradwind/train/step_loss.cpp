// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/step_loss.h"

#include "gradwind/core/error.h"
#include "gradwind/model/rollout.h"

#include <ATen/ATen.h>

namespace gradwind::train
{

namespace
{

void add_to(at::Tensor& sum, const at::Tensor& value)
{
    sum = sum.defined() ? sum + value : value;
}

/// The inputs of rollout step 0, [B, T_in, E, N, V_in] each.
model::Fields first_inputs(std::span<const RolloutDataset> datasets, const ForecasterTask& task, int64_t n_members)
{
    model::Fields x;
    for (const auto& dataset : datasets) {
        auto& fields = x[dataset.name] = model::first_input(dataset.batch, task.n_step_input, dataset.variables);
        if (n_members > 1)
            fields = fields.expand({-1, -1, n_members, -1, -1});
    }
    return x;
}

} // namespace

RolloutLoss rollout_loss(model::SeveralDatasetsModel& model, std::span<const RolloutDataset> datasets,
                         const ForecasterTask& task, int64_t n_rollout, const RolloutVisitor& visitor,
                         const OwnMembers& members)
{
    auto x = first_inputs(datasets, task, members.count);
    RolloutLoss result{{}, std::vector<at::Tensor>(datasets.size())};
    for (int64_t step = 0; step < n_rollout; ++step) {
        const auto predictions =
            model.forward_all(x, {.rollout_step = step, .noise = members.noise}); // [B, T_out, E, N, V_out] each
        at::Tensor of_step;
        for (size_t i = 0; i < datasets.size(); ++i) {
            const auto& dataset = datasets[i];
            if (!dataset.loss)
                continue;
            const auto& prediction = predictions.at(dataset.name);
            const auto target = model::target_of(dataset.batch, task.n_step_input, task.n_step_output, step);
            result.parts[i] = (*dataset.loss)(prediction, target, dataset.context);
            add_to(of_step, result.parts[i]);
            if (visitor)
                visitor(i, step, prediction, target);
        }
        GRADWIND_ASSERT(of_step.defined());
        add_to(result.total, of_step);
        if (step + 1 < n_rollout)
            for (const auto& dataset : datasets) {
                auto& fields = x.at(dataset.name);
                fields = model::advance_input(fields, predictions.at(dataset.name), dataset.batch, step,
                                              dataset.variables, dataset.inside);
            }
    }
    result.total = result.total * (1.0 / double(n_rollout));
    return result;
}

} // namespace gradwind::train
