// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What an optimiser has to know of an exchange: where the sums of gradients lie, and which of them it applies.
#pragma once
#include "gradwind/parallel/group.h"
#include "gradwind/parallel/layout.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace gradwind::parallel
{

/// A range of an arena and what is to be applied to it. Either `dense` is there, or `p` and `q` are.
///
/// Factors stand for matrices of one shape at a constant stride: the gradient of matrix k, which begins at
/// offset + k * stride, is p[k] q[k]^T. What lies between them is not touched.
struct GradientPiece {
    int64_t offset = 0; ///< of its first element in the arena
    at::Tensor dense{}; ///< [n], contiguous
    at::Tensor p{};     ///< [b, rows, r], contiguous
    at::Tensor q{};     ///< [b, columns, r], contiguous
    int64_t stride = 0; ///< elements from matrix to matrix

    [[nodiscard]] bool is_factored() const { return p.defined(); }
    [[nodiscard]] int64_t matrices() const { return p.size(0); }
    [[nodiscard]] int64_t rows() const { return p.size(1); }
    [[nodiscard]] int64_t columns() const { return q.size(1); }
    /// First element of the arena behind it.
    [[nodiscard]] int64_t end() const
    {
        return offset + (is_factored() ? (matrices() - 1) * stride + rows() * columns() : dense.numel());
    }
    /// [b, rows, columns]: the matrices' places in a tensor that lies as the arena does.
    [[nodiscard]] at::Tensor matrices_of(const at::Tensor& flat) const
    {
        return flat.as_strided({matrices(), rows(), columns()}, {stride, columns(), 1}, flat.storage_offset() + offset);
    }
};

/// Which ranges of the arena this process updates, and with whom it holds the state of all of them. Every range is this
/// rank's part of a bucket that is cut evenly over the group; the buckets fill the arena.
struct StateShare {
    Group group = Group::self("optimizer");
    std::vector<Span> owned{}; ///< empty in a group of one: everything
};

} // namespace gradwind::parallel
