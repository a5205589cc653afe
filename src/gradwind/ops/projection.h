// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Fields from one grid to another by a sparse matrix.
#pragma once
#include "gradwind/ops/edge_index.h"

namespace gradwind::ops
{

/// A sparse matrix whose elements are edges from sources (columns) to destinations (rows).
struct Projection {
    EdgeIndex edges;
    at::Tensor weights; ///< [n_edges] double

    /// Does nothing where it is already.
    void move_to(at::Device device);
};

/// @param row_ptr [n_rows + 1] @param col, values [elements], row by row
/// @throws ShapeError if they do not make a matrix of n_rows x n_cols
[[nodiscard]] Projection make_projection(std::span<const int64_t> row_ptr, std::span<const int64_t> col,
                                         std::span<const double> values, int64_t n_cols);

/// The matrix times each field: out[..., i, :] = sum over j of matrix[i, j] x[..., j, :].
///
/// On the CPU one thread makes each row, in the order of the elements: equal bits for any number of threads.
///
/// @param x [..., n_cols, channels], @return [..., n_rows, channels] of the same type
/// @gradient the transposed matrix times the gradient
/// @throws ShapeError if x has another number of rows
[[nodiscard]] at::Tensor project(const at::Tensor& x, const Projection& matrix);

} // namespace gradwind::ops
