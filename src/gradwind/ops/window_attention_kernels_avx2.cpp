// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#define GRADWIND_KERNEL_SET avx2
namespace gradwind::ops
{
namespace
{
constexpr int kVectorBytes = 32;
constexpr int kTileRows = 6;
} // namespace
} // namespace gradwind::ops
#include "gradwind/ops/window_attention_kernels_impl.h"
