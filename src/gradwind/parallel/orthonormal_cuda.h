// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Orthonormal bases of matrices of many shapes on a GPU; private to parallel. Free of torch.
#pragma once
#include <cstdint>
#include <span>

namespace gradwind::parallel::detail
{

constexpr int64_t kMostOrthonormalRank = 8; ///< sums of a row's products stay in registers

/// What orthonormalise() does to matrices [count, rows, rank] for ranks up to kMostOrthonormalRank: Cholesky-QR, twice,
/// in double, with sums in a fixed order.
struct OrthonormalTask {
    const float* matrices = nullptr;
    const double* directions = nullptr;
    float* result = nullptr;
    int64_t count = 0, rows = 0, rank = 0;
};

struct OrthonormalConstants {
    double direction_weight = 0, relative_shift = 0;
};

/// @param stream  a cudaStream_t @return null, or what CUDA says went wrong
[[nodiscard]] const char* orthonormalise_cuda(std::span<const OrthonormalTask> tasks,
                                              const OrthonormalConstants& constants, void* stream);

} // namespace gradwind::parallel::detail
