// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What a call of row_mlp consists of, for its implementations.
#pragma once
#include "gradwind/ops/row_mlp.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

namespace gradwind::ops
{

/// What a call needs besides tensors. Those come in one list: operands, weights, biases, then the two of the norm.
struct RowMlpCall : torch::CustomClassHolder {
    std::vector<RowMlpOperand::At> at;
    std::optional<EdgeIndex> edges;
    std::optional<size_t> residual;
    bool sums = false, norm = false;
    size_t n_layers = 0;
    double epsilon = 0;
    at::ScalarType precision = at::kFloat; ///< that matrix products and results have
    std::function<void()> before_sources;  ///< as in the options, during the forward call only

    /// To be called before the rows of an operand are read.
    void prepare(RowMlpOperand::At place) const
    {
        if (before_sources && place == RowMlpOperand::At::Source)
            before_sources();
    }
    [[nodiscard]] size_t weight(size_t layer) const { return at.size() + layer; }
    [[nodiscard]] size_t bias(size_t layer) const { return at.size() + n_layers + layer; }
    [[nodiscard]] size_t norm_weight() const { return at.size() + 2 * n_layers; }
    [[nodiscard]] size_t norm_bias() const { return norm_weight() + 1; }
};

/// First layer's input columns that belong to one operand.
struct RowMlpColumns {
    int64_t begin = 0, count = 0;
};

using torch::autograd::variable_list;

/// The call on a GPU: rows, and sums where they are asked for. no_cuda.cpp stands in where there is none.
[[nodiscard]] variable_list row_mlp_cuda_forward(const RowMlpCall& call, const variable_list& tensors);
/// @param gradients of rows and sums, either may be undefined @param wanted by tensor
[[nodiscard]] variable_list row_mlp_cuda_backward(const RowMlpCall& call, const variable_list& tensors,
                                                  const variable_list& gradients, const std::vector<bool>& wanted);

} // namespace gradwind::ops
