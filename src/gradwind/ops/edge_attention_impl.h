// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The ways in which edge_attention is computed.
#pragma once
#include "gradwind/ops/edge_attention.h"

namespace gradwind::ops::detail
{

/// By the loops of edge_attention_kernels.h: float32 or float64 on the CPU.
[[nodiscard]] at::Tensor edge_attention_on_cpu(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                               const EdgeTerm& e, const EdgeIndex& edges);

/// By the kernels of edge_attention_cuda_kernels.h: float32 and bfloat16, depths of 2 to 16 packs of 16 bytes.
[[nodiscard]] bool edge_attention_cuda_takes(const at::Tensor& q, const EdgeTerm& e);
[[nodiscard]] at::Tensor edge_attention_on_cuda(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                                const EdgeTerm& e, const EdgeIndex& edges);

/// By operations of torch, on any device; makes several tensors of [n_edges, heads, depth].
[[nodiscard]] at::Tensor edge_attention_by_torch(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                                 const EdgeTerm& e, const EdgeIndex& edges);

} // namespace gradwind::ops::detail
