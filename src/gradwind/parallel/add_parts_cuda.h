// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Sums of what several processes brought, on a GPU. No torch.
#pragma once
#include <cstdint>

namespace gradwind::parallel::detail
{

inline constexpr int kMostParts = 8;

/// One part of every process, in rank order; all at multiples of 16 bytes.
struct Parts {
    const void* at[kMostParts] = {}; ///< not an array class, of which a GPU has no functions
    int count = 0;
};

/// out[i] = sum of the parts' i-th numbers, in rank order; bf16 is summed in fp32 and rounded once.
/// @param out  may be one of the parts @param stream  a cudaStream_t @return null, or what the GPU reports
[[nodiscard]] const char* add_parts_cuda(const Parts& parts, float* out, int64_t n, void* stream);
/// Parts in bf16 but this process's own, in fp32, which is rounded like the others' before it is added.
[[nodiscard]] const char* add_rounded_parts_cuda(const Parts& parts, int own, float* out, int64_t n, void* stream);
[[nodiscard]] const char* add_bf16_parts_cuda(const Parts& parts, void* out, int64_t n, void* stream);

} // namespace gradwind::parallel::detail
