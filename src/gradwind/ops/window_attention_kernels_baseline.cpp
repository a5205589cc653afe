// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#define GRADWIND_KERNEL_SET baseline
namespace gradwind::ops
{
namespace
{
constexpr int kVectorBytes = 16;
constexpr int kTileRows = 6;
} // namespace
} // namespace gradwind::ops
#include "gradwind/ops/window_attention_kernels_impl.h"
