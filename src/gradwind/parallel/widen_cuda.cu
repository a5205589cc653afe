// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/widen_cuda.h"

#include <cuda_runtime.h>

namespace gradwind::parallel::detail
{

namespace
{

constexpr int kThreads = 256;
constexpr int kGroups = 4; ///< of four numbers a thread, read before the first is written

/// bf16 is the upper half of a float.
__device__ float2 widened(unsigned pair)
{
    return {__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u)};
}

__global__ void __launch_bounds__(kThreads) widen(const uint2* __restrict__ from, float4* __restrict__ to, int64_t n)
{
    const int64_t first = int64_t(blockIdx.x) * kThreads * kGroups + threadIdx.x;
    uint2 read[kGroups];
#pragma unroll
    for (int i = 0; i < kGroups; ++i)
        if (first + i * kThreads < n)
            read[i] = from[first + i * kThreads];
#pragma unroll
    for (int i = 0; i < kGroups; ++i)
        if (first + i * kThreads < n) {
            const float2 a = widened(read[i].x), b = widened(read[i].y);
            to[first + i * kThreads] = {a.x, a.y, b.x, b.y};
        }
}

__global__ void widen_rest(const unsigned short* from, float* to, int n)
{
    if (int(threadIdx.x) < n)
        to[threadIdx.x] = __uint_as_float(unsigned(from[threadIdx.x]) << 16);
}

} // namespace

const char* widen_cuda(const void* from, float* to, int64_t n, void* stream)
{
    auto* queue = static_cast<cudaStream_t>(stream);
    const int64_t whole = n / 4, a_block = int64_t(kThreads) * kGroups;
    if (whole > 0)
        widen<<<unsigned((whole + a_block - 1) / a_block), kThreads, 0, queue>>>(static_cast<const uint2*>(from),
                                                                                 reinterpret_cast<float4*>(to), whole);
    if (n % 4 != 0)
        widen_rest<<<1, 32, 0, queue>>>(static_cast<const unsigned short*>(from) + 4 * whole, to + 4 * whole,
                                        int(n % 4));
    const cudaError_t status = cudaGetLastError();
    return status == cudaSuccess ? nullptr : cudaGetErrorString(status);
}

} // namespace gradwind::parallel::detail
