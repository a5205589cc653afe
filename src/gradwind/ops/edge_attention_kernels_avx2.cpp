// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#define GRADWIND_KERNEL_SET avx2
namespace gradwind::ops::edge_attention_kernels
{
namespace
{
constexpr int kVectorBytes = 32;
} // namespace
} // namespace gradwind::ops::edge_attention_kernels
#include "gradwind/ops/edge_attention_kernels_impl.h"
