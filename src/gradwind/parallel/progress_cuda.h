// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// How far a GPU has come; private to parallel. Free of torch.
#pragma once
#include <cstdint>

namespace gradwind::parallel::detail
{

/// The device writes a number once it comes here. @param where  pinned memory of the host
/// @param stream  a cudaStream_t @return null, or what CUDA says went wrong
[[nodiscard]] const char* note_progress_cuda(volatile int32_t* where, int32_t number, void* stream);

} // namespace gradwind::parallel::detail
