// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Destination-sorted edge lists with their compressed rows and their reverse.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

namespace gradwind::ops
{

/// The edges of one (possibly bipartite) graph, sorted by destination. All tensors are int64 on one device.
struct EdgeIndex {
    int64_t n_src = 0;
    int64_t n_dst = 0;
    at::Tensor src;     ///< [n_edges]
    at::Tensor dst;     ///< [n_edges], ascending
    at::Tensor dst_ptr; ///< [n_dst + 1]; edges dst_ptr[i] .. dst_ptr[i + 1] arrive at node i
    at::Tensor by_src;  ///< [n_edges], edge numbers sorted by source, edges of one source ascending
    at::Tensor src_ptr; ///< [n_src + 1], rows of by_src

    [[nodiscard]] int64_t n_edges() const { return src.size(0); }
    [[nodiscard]] EdgeIndex to(at::Device device) const;
};

/// The stable order that sorts edges by destination; `dst[order]` is ascending.
[[nodiscard]] std::vector<int64_t> order_by_destination(std::span<const int32_t> dst, int64_t n_dst);

/// Builds the index of edges that are sorted by destination already, on the CPU.
/// @throws ShapeError if lengths differ, an id is out of range or the destinations are not ascending
[[nodiscard]] EdgeIndex make_edge_index(std::span<const int64_t> src, std::span<const int64_t> dst, int64_t n_src,
                                        int64_t n_dst);

/// `copies` disjoint copies of a graph, node ids of copy i offset by i * (n_src, n_dst); order stays by destination.
[[nodiscard]] EdgeIndex repeat(const EdgeIndex& edges, int64_t copies);

/// Cuts the edge list into at most `n_chunks` runs of about equal length that never part the edges of one
/// destination, so that sums over a destination do not depend on the number of chunks. Returns the bounds.
[[nodiscard]] std::vector<int64_t> chunk_bounds(const EdgeIndex& edges, int64_t n_chunks);

/// Edges [begin, end) of an index as an index over the same nodes.
[[nodiscard]] EdgeIndex slice(const EdgeIndex& edges, int64_t begin, int64_t end);

/// The destinations [first_dst, first_dst + edges.n_dst) with their edges, numbered from zero, and the sources that
/// they need.
struct DestinationSlice {
    EdgeIndex edges;
    int64_t first_dst = 0;
    int64_t first_edge = 0;
    at::Tensor src_rows; ///< the sources of `edges` as rows of all, ascending; undefined: all of them in order
};

/// Cuts the destinations into at most `n_slices` consecutive ranges of about equal length.
[[nodiscard]] std::vector<DestinationSlice> slice_destinations(const EdgeIndex& edges, int64_t n_slices);

} // namespace gradwind::ops
