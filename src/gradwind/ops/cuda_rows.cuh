// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Rows of a matrix as a warp holds them: lane l has columns (k * 32 + l) * V + v, N packs of V. Arithmetic is float32.
#pragma once
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <stdexcept>
#include <string>

namespace gradwind::ops::cuda_rows
{

constexpr int kWarps = 4;
constexpr int kThreads = 32 * kWarps;
__device__ inline float to_float(float x)
{
    return x;
}
__device__ inline float to_float(__nv_bfloat16 x)
{
    return __bfloat162float(x);
}
__device__ inline void store(float& to, float x)
{
    to = x;
}
__device__ inline void store(__nv_bfloat16& to, float x)
{
    to = __float2bfloat16(x);
}

template <class T, int V>
struct alignas(sizeof(T) * V) Pack {
    T values[V];
};

/// Two neighbouring bf16 numbers as they lie in a register: one instruction each, where taking them apart costs two.
__device__ inline void unpack(uint32_t pair, float& low, float& high)
{
    low = __uint_as_float(pair << 16);
    high = __uint_as_float(pair & 0xffff0000U);
}
__device__ inline uint32_t pack(float low, float high)
{
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&pair);
}

/// 16 bytes of a row: 8 numbers in bf16 or 4 in fp32.
__device__ inline void unpack(const uint4& words, float (&x)[8])
{
    unpack(words.x, x[0], x[1]);
    unpack(words.y, x[2], x[3]);
    unpack(words.z, x[4], x[5]);
    unpack(words.w, x[6], x[7]);
}
__device__ inline void unpack(const uint4& words, float (&x)[4])
{
    x[0] = __uint_as_float(words.x);
    x[1] = __uint_as_float(words.y);
    x[2] = __uint_as_float(words.z);
    x[3] = __uint_as_float(words.w);
}
__device__ inline uint4 pack(const float (&x)[8])
{
    return {pack(x[0], x[1]), pack(x[2], x[3]), pack(x[4], x[5]), pack(x[6], x[7])};
}
__device__ inline uint4 pack(const float (&x)[4])
{
    return {__float_as_uint(x[0]), __float_as_uint(x[1]), __float_as_uint(x[2]), __float_as_uint(x[3])};
}

/// V numbers side by side, 16 bytes at once where possible: the lanes of a warp read single numbers from V times as
/// many places.
template <int V>
__device__ void load_parameters(const float* values, float (&x)[V])
{
    if constexpr (V % 4 == 0) {
        if (reinterpret_cast<uintptr_t>(values) % 16 == 0) {
#pragma unroll
            for (int v = 0; v < V; v += 4)
                *reinterpret_cast<float4*>(x + v) = *reinterpret_cast<const float4*>(values + v);
            return;
        }
    }
#pragma unroll
    for (int v = 0; v < V; ++v)
        x[v] = values[v];
}

/// The columns of a row that a lane holds: N packs of V.
template <class T, int V, int N>
struct Lane {
    int64_t width;
    int lane;

    __device__ int64_t column(int k) const { return (int64_t(k) * 32 + lane) * V; }
    __device__ bool has(int k) const { return column(k) < width; }

    __device__ static void read(const T* from, float (&x)[V])
    {
        if constexpr (sizeof(T) * V == sizeof(uint4)) {
            unpack(*reinterpret_cast<const uint4*>(from), x);
        } else {
            const auto pack = *reinterpret_cast<const Pack<T, V>*>(from);
#pragma unroll
            for (int v = 0; v < V; ++v)
                x[v] = to_float(pack.values[v]);
        }
    }
    __device__ void load(const T* row, float (&x)[N][V]) const
    {
#pragma unroll
        for (int k = 0; k < N; ++k) {
            if (has(k)) {
                read(row + column(k), x[k]);
            } else {
#pragma unroll
                for (int v = 0; v < V; ++v)
                    x[k][v] = 0;
            }
        }
    }
    __device__ void add(const T* row, float (&x)[N][V]) const
    {
#pragma unroll
        for (int k = 0; k < N; ++k)
            if (has(k)) {
                float y[V];
                read(row + column(k), y);
#pragma unroll
                for (int v = 0; v < V; ++v)
                    x[k][v] += y[v];
            }
    }
    __device__ void write(T* row, const float (&x)[N][V]) const
    {
#pragma unroll
        for (int k = 0; k < N; ++k)
            if (has(k)) {
                if constexpr (sizeof(T) * V == sizeof(uint4)) {
                    *reinterpret_cast<uint4*>(row + column(k)) = pack(x[k]);
                } else {
                    Pack<T, V> numbers;
#pragma unroll
                    for (int v = 0; v < V; ++v)
                        store(numbers.values[v], x[k][v]);
                    *reinterpret_cast<Pack<T, V>*>(row + column(k)) = numbers;
                }
            }
    }
    /// Parameters of pack k; zero without values.
    __device__ void parameters(const float* values, int k, float (&x)[V]) const
    {
        if (values && has(k)) {
            load_parameters(values + column(k), x);
        } else {
#pragma unroll
            for (int v = 0; v < V; ++v)
                x[v] = 0;
        }
    }
    __device__ void add_parameters(const float* values, float (&x)[N][V]) const
    {
        if (!values)
            return;
#pragma unroll
        for (int k = 0; k < N; ++k) {
            float b[V];
            parameters(values, k, b);
#pragma unroll
            for (int v = 0; v < V; ++v)
                x[k][v] += b[v];
        }
    }
    __device__ void write_sums(float* row, const float (&x)[N][V]) const
    {
#pragma unroll
        for (int k = 0; k < N; ++k)
            if (has(k))
#pragma unroll
                for (int v = 0; v < V; ++v)
                    row[column(k) + v] = x[k][v];
    }
};

__device__ inline float warp_sum(float x)
{
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2)
        x += __shfl_xor_sync(0xffffffffU, x, offset);
    return x;
}

/// Blocks of kWarps warps, one warp a row.
inline unsigned blocks_for(int64_t rows)
{
    return unsigned((rows + kWarps - 1) / kWarps);
}

inline void check(const char* module, const char* kernel)
{
    const auto status = cudaGetLastError();
    if (status != cudaSuccess)
        throw std::runtime_error("[" + std::string(module) + "] the kernel `" + kernel +
                                 "` could not be started: " + cudaGetErrorString(status));
}

} // namespace gradwind::ops::cuda_rows
