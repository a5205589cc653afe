// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Rows from nodes to edges and sums from edges to nodes.
#pragma once
#include "gradwind/ops/edge_index.h"

namespace gradwind::ops
{

/// Node rows at the source of each edge: `nodes[edges.src]`.
///
/// @param nodes [n_src, channels], any floating type
/// @return [n_edges, channels]
/// @gradient summed per source in ascending order of edges (CPU: bit-equal for any number of threads)
/// @throws ShapeError if the number of rows is not edges.n_src
[[nodiscard]] at::Tensor gather_source(const at::Tensor& nodes, const EdgeIndex& edges);

/// Node rows at the destination of each edge: `nodes[edges.dst]`; as gather_source otherwise.
[[nodiscard]] at::Tensor gather_destination(const at::Tensor& nodes, const EdgeIndex& edges);

/// Sum of edge rows at each destination, in ascending order of edges; zero where no edge ends.
///
/// @param rows [n_edges, channels]
/// @return [n_dst, channels]
/// @gradient gather_destination
[[nodiscard]] at::Tensor sum_at_destination(const at::Tensor& rows, const EdgeIndex& edges);

/// Some rows, each at most once: `x[rows]`.
///
/// @param x [n, channels] @param rows [k], distinct
/// @return [k, channels]
/// @gradient copied to its rows: nothing is added up, so on a GPU there is neither an order nor an atomic addition
[[nodiscard]] at::Tensor pick_rows(const at::Tensor& x, const at::Tensor& rows);

/// out[i] = sum of rows[order[ptr[i]]] .. rows[order[ptr[i + 1] - 1]]; without `order` the rows are consecutive.
/// Not differentiable; the kernel under the functions above. One thread sums each segment, in order.
[[nodiscard]] at::Tensor segment_sum(const at::Tensor& rows, const at::Tensor& ptr, const at::Tensor& order,
                                     const at::Tensor& segment_of_row);

} // namespace gradwind::ops
