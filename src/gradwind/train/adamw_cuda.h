// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The kernels of AdamW on a GPU behind a plain interface: no torch here. Everything is queued, nothing waits.
#pragma once
#include "gradwind/train/adamw_kernel.h"

#include <cstdint>

namespace gradwind::train::detail
{

/// What the device decides about a step; the host reads it later.
struct AdamWVerdict {
    double sum_of_squares; ///< of all gradients
    int64_t steps;         ///< applied so far, this one included
    int64_t applied;       ///< 0: a gradient was not finite, nothing was changed
};

/// Memory on the device that lives from step to step.
struct AdamWDevice {
    AdamWFactors factors;
    AdamWVerdict verdict;
};

/// Partial sums that squares_cuda() writes for a piece; from its sizes only, so that the bits of the sum are fixed.
[[nodiscard]] int64_t partial_sums(const AdamWPiece& piece);
/// Sums of squares of a piece's gradients, in double. @param partial  partial_sums() of them @param stream cudaStream_t
/// @return here and below: null, or what CUDA says went wrong
[[nodiscard]] const char* squares_cuda(const AdamWPiece& piece, double* partial, void* stream);
/// *total = the sum of n numbers, always in the same order.
[[nodiscard]] const char* total_cuda(const double* partial, int64_t n, double* total, void* stream);
/// Whether the sum of squares is finite, and with which factors the step is applied then.
[[nodiscard]] const char* decide_cuda(AdamWDevice* device, const double* total, const AdamWRates& rates, void* stream);
/// Applies the step to a piece, as decided.
[[nodiscard]] const char* apply_cuda(const AdamWPiece& piece, const AdamWDevice* device, void* stream);

} // namespace gradwind::train::detail
