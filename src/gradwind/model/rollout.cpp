// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/model/rollout.h"

#include "gradwind/core/error.h"
#include "gradwind/ops/device_constants.h"

#include <ATen/ATen.h>

namespace gradwind::model
{

namespace
{

at::Tensor index_of(const std::vector<int64_t>& columns, const at::Tensor& like)
{
    return ops::columns_on(columns, like.device());
}

at::Tensor pick(const at::Tensor& x, const std::vector<int64_t>& columns)
{
    return x.index_select(-1, index_of(columns, x));
}

void check_times(const at::Tensor& batch, int64_t needed)
{
    GRADWIND_CHECK(batch.size(1) >= needed, ShapeError, "[rollout] the batch has {} times, but this step needs {}",
                   batch.size(1), needed);
}

std::vector<int64_t> prognostic_in_dataset(const VariableTable& variables)
{
    std::vector<int64_t> out;
    for (const auto column : variables.model_input_prognostic())
        out.push_back(variables.data_input()[size_t(column)]);
    return out;
}

} // namespace

at::Tensor first_input(const at::Tensor& batch, int64_t n_step_input, const VariableTable& variables)
{
    check_times(batch, n_step_input);
    return pick(batch.narrow(1, 0, n_step_input), variables.data_input());
}

at::Tensor target_of(const at::Tensor& batch, int64_t n_step_input, int64_t n_step_output, int64_t step)
{
    const auto begin = first_output_time(n_step_input, n_step_output, step);
    check_times(batch, begin + n_step_output);
    return batch.narrow(1, begin, n_step_output);
}

at::Tensor advance_input(const at::Tensor& x, const at::Tensor& y_pred, const at::Tensor& batch, int64_t step,
                         const VariableTable& variables, const at::Tensor& inside)
{
    const auto n_input = x.size(1);
    const auto n_output = y_pred.size(1);
    const auto keep = std::min(n_input, n_output);
    const auto begin = first_output_time(n_input, n_output, step) + n_output - keep;
    check_times(batch, begin + keep);
    const auto truth = batch.narrow(1, begin, keep);
    auto state = pick(y_pred.narrow(1, n_output - keep, keep), variables.model_output_prognostic());
    if (inside.defined())
        state =
            at::where(inside.to(state.device()).reshape({-1, 1}), state, pick(truth, prognostic_in_dataset(variables)));
    const auto forcing = pick(truth, variables.data_forcing());
    auto newest = at::zeros({x.size(0), keep, x.size(2), x.size(3), x.size(4)}, x.options());
    newest = newest.index_copy(-1, index_of(variables.model_input_prognostic(), x), state);
    newest = newest.index_copy(-1, index_of(variables.model_input_forcing(), x),
                               forcing.expand({-1, -1, x.size(2), -1, -1}).to(x.scalar_type()));
    return keep == n_input ? newest : at::cat({x.narrow(1, keep, n_input - keep), newest}, 1);
}

} // namespace gradwind::model
