// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/ops/row_sums_cuda.h"

#include "gradwind/ops/row_mlp_cuda_kernels.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAStream.h>

namespace gradwind::ops
{

namespace
{

void* stream_of(const at::Tensor& x)
{
    return c10::cuda::getCurrentCUDAStream(x.device().index()).stream();
}

} // namespace

at::Tensor row_sums(const at::Tensor& x, const at::Tensor& ptr)
{
    using namespace row_mlp_cuda;
    const auto dense = x.contiguous();
    const Launch launch{dense.scalar_type() == at::kBFloat16 ? Real::BFloat16 : Real::Float, dense.size(0),
                        dense.size(1), stream_of(x)};
    auto parts =
        at::empty({1, count_parts(launch.rows), launch.width}, x.options().dtype(at::kFloat).requires_grad(false));
    column_sums(launch, dense.data_ptr(), ptr.defined() ? ptr.data_ptr<int64_t>() : nullptr, parts.data_ptr<float>());
    return sum_of_parts(parts)[0];
}

at::Tensor sum_of_parts(const at::Tensor& parts)
{
    auto sums = at::empty({parts.size(0), parts.size(2)}, parts.options());
    row_mlp_cuda::sum_parts({parts.size(0), parts.size(1), parts.size(2)}, parts.data_ptr<float>(),
                            sums.data_ptr<float>(), stream_of(parts));
    return sums;
}

} // namespace gradwind::ops
