// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#define GRADWIND_KERNEL_SET avx512
namespace gradwind::ops::edge_attention_kernels
{
namespace
{
constexpr int kVectorBytes = 64;
} // namespace
} // namespace gradwind::ops::edge_attention_kernels
#include "gradwind/ops/edge_attention_kernels_impl.h"
