// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/ops/checkpoint.h"

#include "gradwind/core/error.h"
#include "gradwind/core/torch_version.h"

#include <ATen/core/grad_mode.h>
#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

namespace gradwind::ops
{

namespace
{

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// What a region needs besides tensors: how to run it again, and in Keep mode the graph of its first run.
struct RegionState : torch::CustomClassHolder {
    TensorFunction function;
    size_t n_inputs = 0;
    AutocastState autocast;
    variable_list inner_inputs;
    variable_list inner_outputs;
};

/// Inputs cut off from the outer graph, so that gradients stop at the region's border.
variable_list cut_off(const variable_list& inputs)
{
    variable_list out;
    for (const auto& input : inputs) {
        auto leaf = input.detach();
        leaf.set_requires_grad(input.requires_grad());
        out.push_back(std::move(leaf));
    }
    return out;
}

struct Region : torch::autograd::Function<Region> {
    /// `operands` are the inputs followed by the parameters.
    static variable_list forward(AutogradContext* context, at::TensorList operands, Intermediates mode,
                                 c10::intrusive_ptr<RegionState> state)
    {
        const auto inputs = operands.slice(0, state->n_inputs).vec();
        const AutocastGuard same_precision(state->autocast);
        variable_list out;
        if (mode == Intermediates::Keep) {
            const at::AutoGradMode with_gradients(true);
            state->inner_inputs = cut_off(inputs);
            state->inner_outputs = state->function(state->inner_inputs);
            for (const auto& output : state->inner_outputs)
                out.push_back(output.detach());
        } else {
            out = state->function(inputs);
        }
        context->save_for_backward(operands.vec());
        context->saved_data["state"] = c10::IValue::make_capsule(state);
        return out;
    }

    static variable_list backward(AutogradContext* context, variable_list gradients)
    {
        auto operands = context->get_saved_variables();
        const auto state = c10::static_intrusive_pointer_cast<RegionState>(context->saved_data["state"].toCapsule());
        const variable_list inputs(operands.begin(), operands.begin() + int64_t(state->n_inputs));
        const at::AutoGradMode with_gradients(true);
        auto inner_inputs = std::move(state->inner_inputs);
        auto outputs = std::move(state->inner_outputs);
        if (inner_inputs.empty()) {
            const AutocastGuard same_precision(state->autocast);
            inner_inputs = cut_off(inputs);
            outputs = state->function(inner_inputs);
        }
        std::copy(inner_inputs.begin(), inner_inputs.end(), operands.begin());
        variable_list result = differentiate(outputs, gradients, operands);
        result.resize(operands.size() + 2);
        return result;
    }

    /// Gradients for every operand that needs one; undefined tensors for the others.
    static variable_list differentiate(const variable_list& outputs, const variable_list& gradients,
                                       const variable_list& operands)
    {
        variable_list differentiable, seeds, wanted;
        for (size_t i = 0; i < outputs.size(); ++i)
            if (outputs[i].requires_grad() && gradients[i].defined()) {
                differentiable.push_back(outputs[i]);
                seeds.push_back(gradients[i]);
            }
        for (const auto& operand : operands)
            if (operand.requires_grad())
                wanted.push_back(operand);
        variable_list result(operands.size());
        if (differentiable.empty() || wanted.empty())
            return result;
        const auto found = torch::autograd::grad(differentiable, wanted, seeds, false, false, true);
        for (size_t i = 0, next = 0; i < operands.size(); ++i)
            if (operands[i].requires_grad())
                result[i] = found[next++];
        return result;
    }
};

} // namespace

std::vector<at::Tensor> region(Intermediates mode, const TensorFunction& function,
                               const std::vector<at::Tensor>& inputs, const std::vector<at::Tensor>& parameters)
{
    variable_list operands = inputs;
    operands.insert(operands.end(), parameters.begin(), parameters.end());
    const bool differentiable =
        std::any_of(operands.begin(), operands.end(), [](const auto& tensor) { return tensor.requires_grad(); });
    if (!at::GradMode::is_enabled() || !differentiable)
        return function(inputs);
    auto state = c10::make_intrusive<RegionState>();
    state->function = function;
    state->n_inputs = inputs.size();
    state->autocast = AutocastState::current();
    return Region::apply(at::TensorList(operands), mode, std::move(state));
}

} // namespace gradwind::ops
