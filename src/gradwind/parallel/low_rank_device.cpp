// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/low_rank_device.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/low_rank_cuda.h"
#include "gradwind/parallel/orthonormal_cuda.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>
#include <vector>

namespace gradwind::parallel::detail
{
namespace
{

bool is_for_kernels(const at::Tensor& m, const at::Tensor& factor)
{
    return m.is_cuda() && m.scalar_type() == at::kFloat && m.stride(2) == 1 && m.stride(1) == m.size(2) &&
           factor.is_contiguous() && m.numel() > 0;
}

MatrixBatch batch_of(const at::Tensor& m, int64_t rank)
{
    return {.data = m.data_ptr<float>(),
            .stride = m.stride(0),
            .count = m.size(0),
            .rows = m.size(1),
            .columns = m.size(2),
            .rank = rank};
}

void* stream_of(const at::Tensor& m)
{
    return c10::cuda::getCurrentCUDAStream(m.device().index()).stream();
}

void check(const char* failure)
{
    GRADWIND_CHECK(failure == nullptr, InternalError, "[gradients] the GPU reports: {}", failure);
}

} // namespace

bool p_step_on_device(const at::Tensor& m, const at::Tensor& basis, const at::Tensor& left, const at::Tensor& right,
                      const at::Tensor& p)
{
    if (!is_for_kernels(m, p) || !takes(batch_of(m, p.size(2))))
        return false;
    const c10::cuda::CUDAGuard guard(m.device());
    const Outstanding before{left.data_ptr<float>(), right.data_ptr<float>()};
    check(p_step_cuda(batch_of(m, p.size(2)), basis.data_ptr<float>(), before, p.data_ptr<float>(), stream_of(m)));
    return true;
}

bool q_step_on_device(const at::Tensor& m, const at::Tensor& basis, const at::Tensor& q, const at::Tensor& copy)
{
    if (!is_for_kernels(m, q) || !takes(batch_of(m, q.size(2))))
        return false;
    const c10::cuda::CUDAGuard guard(m.device());
    const auto batch = batch_of(m, q.size(2));
    const auto space = at::empty({q_step_space(batch)}, m.options());
    check(q_step_cuda(batch, basis.data_ptr<float>(), q.data_ptr<float>(), copy.data_ptr<float>(),
                      space.data_ptr<float>(), stream_of(m)));
    return true;
}

bool subtract_on_device(const at::Tensor& m, const at::Tensor& p, const at::Tensor& q)
{
    if (!is_for_kernels(m, p) || !q.is_contiguous() || !takes(batch_of(m, p.size(2))))
        return false;
    const c10::cuda::CUDAGuard guard(m.device());
    check(subtract_cuda(batch_of(m, p.size(2)), p.data_ptr<float>(), q.data_ptr<float>(), stream_of(m)));
    return true;
}

bool orthonormalise_on_device(std::span<const ToOrthonormalise> all, double direction_weight, double relative_shift)
{
    const auto is_for_kernel = [](const ToOrthonormalise& one) {
        return one.matrices.is_cuda() && one.matrices.scalar_type() == at::kFloat && one.matrices.is_contiguous() &&
               one.directions.is_contiguous() && one.result.is_contiguous() &&
               one.matrices.size(2) <= kMostOrthonormalRank && one.matrices.numel() > 0;
    };
    if (all.empty() || !std::all_of(all.begin(), all.end(), is_for_kernel))
        return false;
    const auto device = all.front().matrices.device();
    const c10::cuda::CUDAGuard guard(device);
    std::vector<OrthonormalTask> tasks;
    for (const auto& [matrices, directions, result] : all)
        tasks.push_back({.matrices = matrices.data_ptr<float>(),
                         .directions = directions.data_ptr<double>(),
                         .result = result.data_ptr<float>(),
                         .count = matrices.size(0),
                         .rows = matrices.size(1),
                         .rank = matrices.size(2)});
    check(orthonormalise_cuda(tasks, {direction_weight, relative_shift},
                              c10::cuda::getCurrentCUDAStream(device.index()).stream()));
    return true;
}

} // namespace gradwind::parallel::detail
