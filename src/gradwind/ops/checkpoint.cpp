// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/ops/checkpoint.h"

#include "gradwind/core/error.h"
#include "gradwind/core/torch_version.h"

#include <ATen/core/grad_mode.h>
#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/function.h>
#include <torch/custom_class.h>

#include <utility>

namespace gradwind::ops
{

namespace
{

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Where the gradient graph inside a region ends: has the gradients of the region's inputs. It keeps none of their
/// values, which nobody may need.
struct Border : torch::autograd::Node {
    variable_list apply(variable_list&& gradients) override
    {
        collected = std::move(gradients);
        return {};
    }
    variable_list collected; ///< of those inputs that ask for a gradient
};

/// What runs in a region, and the graph of one run.
struct RegionState : torch::CustomClassHolder {
    TensorFunction function;
    AutocastState autocast;
    std::vector<bool> asks; ///< by input, for a gradient
    std::shared_ptr<Border> border;
    torch::autograd::edge_list ends; ///< by output, where its gradient goes in; of a run whose backward is to come

    /// @return the outputs, which are not kept either
    variable_list run(const variable_list& inputs)
    {
        const at::AutoGradMode with_gradients(true);
        const AutocastGuard same_precision(autocast);
        border = std::make_shared<Border>();
        variable_list inner;
        for (size_t i = 0; i < inputs.size(); ++i) {
            inner.push_back(inputs[i].detach());
            if (asks[i])
                torch::autograd::create_gradient_edge(inner.back(), border);
        }
        auto outputs = function(inner);
        ends.clear();
        for (const auto& output : outputs)
            ends.push_back(output.requires_grad() ? torch::autograd::impl::gradient_edge(output)
                                                  : torch::autograd::Edge());
        return outputs;
    }
};

struct Region : torch::autograd::Function<Region> {
    /// `operands` are the inputs followed by the anchor.
    static variable_list forward(AutogradContext* context, at::TensorList operands, Intermediates mode,
                                 c10::intrusive_ptr<RegionState> state)
    {
        const auto inputs = operands.slice(0, operands.size() - 1).vec();
        variable_list out;
        if (mode == Intermediates::Keep) {
            for (const auto& output : state->run(inputs))
                out.push_back(output.detach());
        } else {
            const AutocastGuard same_precision(state->autocast);
            out = state->function(inputs);
            context->save_for_backward(inputs);
        }
        context->saved_data["state"] = c10::IValue::make_capsule(state);
        return out;
    }

    static variable_list backward(AutogradContext* context, variable_list gradients)
    {
        const auto state = c10::static_intrusive_pointer_cast<RegionState>(context->saved_data["state"].toCapsule());
        const auto inputs = context->get_saved_variables();
        if (!inputs.empty())
            (void)state->run(inputs);
        GRADWIND_CHECK(state->border != nullptr, InternalError,
                       "[region] what was kept of a region serves one backward, and this is the second");
        add_gradients(std::exchange(state->ends, {}), gradients);
        const auto border = std::exchange(state->border, nullptr);
        variable_list result(state->asks.size() + 3); // nothing for the anchor, the mode and the state
        for (size_t i = 0, next = 0; i < state->asks.size(); ++i)
            if (state->asks[i] && next < border->collected.size())
                result[i] = std::move(border->collected[next++]);
        return result;
    }

    /// To all leaves, which are the parameters, and to the border.
    static void add_gradients(const torch::autograd::edge_list& ends, const variable_list& gradients)
    {
        torch::autograd::edge_list roots;
        variable_list seeds;
        for (size_t i = 0; i < ends.size(); ++i)
            if (ends[i].is_valid() && gradients[i].defined()) {
                roots.push_back(ends[i]);
                seeds.push_back(gradients[i]);
            }
        if (!roots.empty())
            torch::autograd::Engine::get_default_engine().execute(roots, seeds, /*keep_graph=*/false,
                                                                  /*create_graph=*/false, /*accumulate_grad=*/true);
    }
};

/// What makes a region part of the gradient graph where none of its inputs is: the graph ends here.
at::Tensor anchor(const std::vector<at::Tensor>& inputs)
{
    return at::empty({0}, inputs.front().options().dtype(at::kFloat)).set_requires_grad(true);
}

} // namespace

std::vector<at::Tensor> region(Intermediates mode, const TensorFunction& function,
                               const std::vector<at::Tensor>& inputs, const std::vector<at::Tensor>& parameters)
{
    const auto asks = [](const at::Tensor& tensor) { return tensor.requires_grad(); };
    const bool differentiable =
        std::any_of(inputs.begin(), inputs.end(), asks) || std::any_of(parameters.begin(), parameters.end(), asks);
    if (!at::GradMode::is_enabled() || !differentiable)
        return function(inputs);
    auto state = c10::make_intrusive<RegionState>();
    state->function = function;
    state->autocast = AutocastState::current();
    for (const auto& input : inputs)
        state->asks.push_back(asks(input));
    auto operands = inputs;
    operands.push_back(anchor(inputs));
    return Region::apply(at::TensorList(operands), mode, std::move(state));
}

} // namespace gradwind::ops
