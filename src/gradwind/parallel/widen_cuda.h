// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// bf16 in float32 on a GPU; private to parallel. Free of torch, whose own copy reaches a third of the memory's speed.
#pragma once
#include <cstdint>

namespace gradwind::parallel::detail
{

/// @param from  n numbers in bf16, at a multiple of 8 bytes @param to  at a multiple of 16
/// @param stream  a cudaStream_t @return null, or what CUDA says went wrong
[[nodiscard]] const char* widen_cuda(const void* from, float* to, int64_t n, void* stream);

} // namespace gradwind::parallel::detail
