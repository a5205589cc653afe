// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What of an arena travels as factors, and how its messages are made up; private to parallel.
#pragma once
#include "gradwind/parallel/arena.h"
#include "gradwind/parallel/engine_options.h"

#include <cstdint>
#include <utility>
#include <vector>

namespace gradwind::parallel::detail
{

/// A tensor as a matrix of its first dimension by the rest, and the rank of its factors; zeros for what is none.
struct MatrixSize {
    int64_t rows = 0, columns = 0, rank = 0;
};
[[nodiscard]] MatrixSize matrix_size(const std::vector<int64_t>& shape, int64_t rank);

/// Whether compression pays for a tensor, as a matrix of its first dimension by the rest.
[[nodiscard]] bool is_compressible(const std::vector<int64_t>& shape, const CompressionOptions& options);

/// Order of the arena for compression: a few groups in order of readiness; in each first the matrices, equal shapes
/// side by side, then the rest. @param shapes, ready_order  of all parameters, and indices into them
[[nodiscard]] std::vector<size_t> low_rank_order(const std::vector<std::vector<int64_t>>& shapes,
                                                 const std::vector<size_t>& ready_order,
                                                 const CompressionOptions& options);

/// Buckets of such an arena: one ends where a matrix follows something else.
[[nodiscard]] std::vector<int64_t> low_rank_ends(const std::vector<Slice>& slices, int64_t numel,
                                                 const CompressionOptions& options);

/// The two messages of a bucket, factors first, behind them what travels as it is; sizes in elements.
struct LowRankBucket {
    /// Matrices of one shape that lie in a row.
    struct Run {
        size_t first = 0; ///< index of a slice
        int64_t count = 0;
        MatrixSize size;
    };
    std::vector<Run> runs;
    std::vector<std::pair<int64_t, int64_t>> ranges; ///< first element of the arena and the one behind the last
    int64_t p_size = 0, q_size = 0;                  ///< all factors
    int64_t p_rest = 0, q_rest = 0;                  ///< where the rest begins in its message
    int64_t p_message = 0, q_message = 0;
    int64_t q_factors = 0; ///< the beginning of q_message that travels by itself with PowerSGD
};

/// @param ends     ends of slices
/// @param granule  messages are multiples of this
[[nodiscard]] std::vector<LowRankBucket> plan_low_rank(const std::vector<Slice>& slices, int64_t numel,
                                                       const std::vector<int64_t>& ends,
                                                       const CompressionOptions& options, int64_t granule);

} // namespace gradwind::parallel::detail
