// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/error.h"
#include "gradwind/ops/edge_attention_impl.h"

namespace gradwind::ops::detail
{

bool edge_attention_cuda_takes(const at::Tensor&, const EdgeTerm&)
{
    return false;
}

at::Tensor edge_attention_on_cuda(const at::Tensor&, const at::Tensor&, const at::Tensor&, const EdgeTerm&,
                                  const EdgeIndex&)
{
    throw InternalError("[edge_attention] this build knows no GPU");
}

} // namespace gradwind::ops::detail
