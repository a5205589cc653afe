// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The transposition of byte planes with 256-bit vectors; private to zarr_transpose.cpp.
#pragma once
#include <cstddef>
#include <cstdint>

namespace gradwind::data::detail
{

/// Float32 elements of one variable as four byte planes.
struct PlaneRow {
    const std::byte* first = nullptr; ///< first byte of the first element
    int64_t stride = 0;               ///< from plane to plane
};

/// Whether this machine runs the functions below.
[[nodiscard]] bool has_avx2();

/// Writes out[i * stride + k] = element i of rows[k], for four rows. @param count  a multiple of 32
void planes_to_columns_avx2(const PlaneRow* rows, int64_t count, float* out, int64_t stride);

/// Copies past the caches, the middle in whole vectors.
void stream_avx2(const float* from, int64_t count, float* to);

} // namespace gradwind::data::detail
