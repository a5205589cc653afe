// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/add_parts_cuda.h"

#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <type_traits>

namespace gradwind::parallel::detail
{

namespace
{

constexpr int kThreads = 256;
constexpr int kGroups = 2; ///< of numbers, which a thread reads before it writes

__device__ float number(float x)
{
    return x;
}

__device__ float number(__nv_bfloat16 x)
{
    return __bfloat162float(x);
}

__device__ void round_to(float x, float& out)
{
    out = x;
}

__device__ void round_to(float x, __nv_bfloat16& out)
{
    out = __float2bfloat16_rn(x);
}

constexpr int kWide = 4; ///< numbers that a thread adds at once

template <class T>
struct alignas(kWide * sizeof(T)) Few {
    T of[kWide];
};

/// Numbers of a part from its at-th on: four, or one where fewer are left.
template <int kNumbers, class T>
__device__ void read(const void* part, int64_t at, float (&numbers)[kNumbers])
{
    if constexpr (kNumbers == kWide) {
        const auto few = *reinterpret_cast<const Few<T>*>(static_cast<const T*>(part) + at);
#pragma unroll
        for (int k = 0; k < kWide; ++k)
            numbers[k] = number(few.of[k]);
    } else {
        numbers[0] = number(static_cast<const T*>(part)[at]);
    }
}

template <int kNumbers, class T>
__device__ void write(T* out, int64_t at, const float (&numbers)[kNumbers])
{
    if constexpr (kNumbers == kWide) {
        Few<T> few;
#pragma unroll
        for (int k = 0; k < kWide; ++k)
            round_to(numbers[k], few.of[k]);
        *reinterpret_cast<Few<T>*>(out + at) = few;
    } else {
        round_to(numbers[0], out[at]);
    }
}

/// Of all parts, in rank order. Where kMixed, part `own` is fp32 and the others are bf16.
template <int kNumbers, bool kMixed, class T, int kParts>
__device__ void sum_of(const Parts& parts, int own, int64_t at, float (&sum)[kNumbers])
{
    using Sent = std::conditional_t<kMixed, __nv_bfloat16, T>;
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
        float brought[kNumbers];
        if (kMixed && part == own) {
            read<kNumbers, float>(parts.at[part], at, brought);
#pragma unroll
            for (int k = 0; k < kNumbers; ++k)
                brought[k] = __bfloat162float(__float2bfloat16_rn(brought[k]));
        } else {
            read<kNumbers, Sent>(parts.at[part], at, brought);
        }
#pragma unroll
        for (int k = 0; k < kNumbers; ++k)
            sum[k] = part == 0 ? brought[k] : sum[k] + brought[k];
    }
}

template <class T, bool kMixed, int kParts>
__global__ void __launch_bounds__(kThreads) add(Parts parts, int own, T* out, int64_t n)
{
    const int64_t first = (int64_t(blockIdx.x) * kThreads * kGroups + threadIdx.x) * kWide;
    float sums[kGroups][kWide];
#pragma unroll
    for (int i = 0; i < kGroups; ++i)
        if (first + i * kThreads * kWide + kWide <= n)
            sum_of<kWide, kMixed, T, kParts>(parts, own, first + i * kThreads * kWide, sums[i]);
#pragma unroll
    for (int i = 0; i < kGroups; ++i)
        if (first + i * kThreads * kWide + kWide <= n)
            write<kWide>(out, first + i * kThreads * kWide, sums[i]);
    const int64_t rest = n / kWide * kWide + threadIdx.x;
    if (blockIdx.x == 0 && rest < n) {
        float sum[1];
        sum_of<1, kMixed, T, kParts>(parts, own, rest, sum);
        write<1>(out, rest, sum);
    }
}

template <class T, bool kMixed, int kParts>
void start(const Parts& parts, int own, T* out, int64_t n, cudaStream_t stream)
{
    if (parts.count != kParts) {
        if constexpr (kParts < kMostParts)
            start<T, kMixed, kParts + 1>(parts, own, out, n, stream);
        return;
    }
    const int64_t a_block = int64_t(kThreads) * kGroups * kWide;
    add<T, kMixed, kParts><<<unsigned((n + a_block - 1) / a_block), kThreads, 0, stream>>>(parts, own, out, n);
}

template <class T, bool kMixed>
const char* add_all(const Parts& parts, int own, T* out, int64_t n, void* stream)
{
    if (n > 0)
        start<T, kMixed, 1>(parts, own, out, n, static_cast<cudaStream_t>(stream));
    const cudaError_t status = cudaGetLastError();
    return status == cudaSuccess ? nullptr : cudaGetErrorString(status);
}

} // namespace

const char* add_parts_cuda(const Parts& parts, float* out, int64_t n, void* stream)
{
    return add_all<float, false>(parts, 0, out, n, stream);
}

const char* add_bf16_parts_cuda(const Parts& parts, void* out, int64_t n, void* stream)
{
    return add_all<__nv_bfloat16, false>(parts, 0, static_cast<__nv_bfloat16*>(out), n, stream);
}

const char* add_rounded_parts_cuda(const Parts& parts, int own, float* out, int64_t n, void* stream)
{
    return add_all<float, true>(parts, own, out, n, stream);
}

} // namespace gradwind::parallel::detail
