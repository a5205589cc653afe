// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// A whole perceptron over the rows of nodes or edges, one block of rows at a time.
#pragma once
#include "gradwind/ops/activation.h"
#include "gradwind/ops/edge_index.h"

#include <functional>
#include <optional>

namespace gradwind::ops
{

/// Linear layers with GELU between them and, where `norm_weight` is defined, a normalisation after the last.
struct RowMlpWeights {
    std::vector<at::Tensor> weights; ///< [out, in] of every layer
    std::vector<at::Tensor> biases;  ///< [out] of every layer
    at::Tensor norm_weight;
    at::Tensor norm_bias;
    double epsilon = 1e-5;
};

/// Input columns of the first layer, in order. A row of the result takes the operand's row of the same number, or that
/// of its source or destination node.
struct RowMlpOperand {
    at::Tensor rows; ///< [rows or nodes, width]
    enum class At { Row, Source, Destination } at = At::Row;
};

struct RowMlpOptions {
    const EdgeIndex* edges = nullptr; ///< rows are edges; needed for operands at nodes and for sums
    std::optional<size_t> residual;   ///< operand at rows, as wide as the result, that is added to it
    enum class Sums { None, AtDestination } sums = Sums::None;
    /// Called in forward before an operand at sources is read: what it lacks may arrive until then.
    std::function<void()> before_sources = {};
};

struct RowMlpResult {
    at::Tensor rows; ///< [rows, out]
    at::Tensor sums; ///< [n_dst, out]; undefined without Sums::AtDestination
};

/// Whether row_mlp takes tensors like these, with GELU: on the CPU float32 or float64 outside autocast, on a GPU
/// float32, or any type under autocast to bf16. Results have the type of the computation.
[[nodiscard]] bool row_mlp_takes(const at::Tensor& like, const Activation& activation, size_t n_layers);

/// The perceptron of the operands side by side, plus the residual operand, and its sums at destinations.
///
/// Intermediate values live for one block of rows (in the cache of a CPU) and are computed again in backward, so that
/// only operands and results take memory. Operands at nodes meet the first layer once per node. Rows, sums and their
/// gradients have the same bits for any number of threads, and on a GPU from run to run.
///
/// @param operands at least one at rows, which comes last among those at edges
/// @gradient once, for operands and weights
/// @throws ShapeError if the weights do not fit the operands
[[nodiscard]] RowMlpResult row_mlp(const RowMlpWeights& weights, const std::vector<RowMlpOperand>& operands,
                                   const RowMlpOptions& options = {});

} // namespace gradwind::ops
