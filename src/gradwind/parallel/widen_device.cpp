// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/error.h"
#include "gradwind/parallel/widen.h"
#include "gradwind/parallel/widen_cuda.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

namespace gradwind::parallel::detail
{
namespace
{

bool is_at_multiple(const at::Tensor& x, uintptr_t bytes)
{
    return reinterpret_cast<uintptr_t>(x.data_ptr()) % bytes == 0;
}

} // namespace

void widen(const at::Tensor& from, const at::Tensor& to)
{
    const bool known = to.is_cuda() && from.scalar_type() == at::kBFloat16 && to.scalar_type() == at::kFloat;
    if (!known || !is_at_multiple(from, 8) || !is_at_multiple(to, 16)) {
        to.copy_(from);
        return;
    }
    const c10::cuda::CUDAGuard guard(to.device());
    const char* failure = widen_cuda(from.data_ptr(), to.data_ptr<float>(), to.numel(),
                                     c10::cuda::getCurrentCUDAStream(to.device().index()).stream());
    GRADWIND_CHECK(failure == nullptr, InternalError, "[gradients] the GPU reports: {}", failure);
}

} // namespace gradwind::parallel::detail
