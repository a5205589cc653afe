// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Projections of gradients on a GPU, with the subtraction of what they take away; private to parallel. Free of torch.
//
// The gradients are read and written once for a P step, and read once for a Q step: what a Q step takes away leaves
// with that of the P step after it. Sums are taken in a fixed order.
#pragma once
#include <cstdint>

namespace gradwind::parallel::detail
{

/// Matrices of one shape, `stride` elements apart; rows are contiguous.
struct MatrixBatch {
    float* data = nullptr;
    int64_t stride = 0;
    int64_t count = 0, rows = 0, columns = 0;
    int64_t rank = 0; ///< of the factors
};

/// Whether the kernels are made for such matrices.
[[nodiscard]] bool takes(const MatrixBatch& matrices);

/// left right^T, which is still to be taken off the matrices. @param left [count, rows, rank]
/// @param right [count, columns, rank]
struct Outstanding {
    const float *left = nullptr, *right = nullptr;
};

/// m -= left right^T, p = m basis, then m -= p basis^T. @param basis [count, columns, rank]
/// @param p [count, rows, rank] @param stream  a cudaStream_t @return here and below: null, or what CUDA says went
/// wrong
[[nodiscard]] const char* p_step_cuda(const MatrixBatch& matrices, const float* basis, const Outstanding& before,
                                      float* p, void* stream);

/// Elements of q_step_cuda()'s work space.
[[nodiscard]] int64_t q_step_space(const MatrixBatch& matrices);
/// q = m^T basis; m stays as it is. @param basis [count, rows, rank] @param q, copy [count, columns, rank], both
/// written
[[nodiscard]] const char* q_step_cuda(const MatrixBatch& matrices, const float* basis, float* q, float* copy,
                                      float* space, void* stream);
/// m -= p q^T.
[[nodiscard]] const char* subtract_cuda(const MatrixBatch& matrices, const float* p, const float* q, void* stream);

} // namespace gradwind::parallel::detail
