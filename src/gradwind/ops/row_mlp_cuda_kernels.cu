// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// One warp works on one row at a time (cuda_rows.cuh). Column sums stay in registers while a warp goes through its
// rows; the warps of a block are then added up in order.
#include "gradwind/ops/cuda_rows.cuh"
#include "gradwind/ops/row_mlp_cuda_kernels.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace gradwind::ops::row_mlp_cuda
{

namespace
{

using namespace cuda_rows;

/// Blocks that share the rows where column sums are made.
constexpr int64_t kMostParts = 1024;
/// Columns that a warp takes at once where columns are independent of each other.
constexpr int64_t kWidest = 1024;

__device__ float gelu(float x)
{
    return 0.5F * x * (1.0F + erff(x * 0.70710678118654752F));
}
__device__ float gelu_slope(float x)
{
    return 0.5F * (1.0F + erff(x * 0.70710678118654752F)) + x * 0.39894228040143268F * __expf(-0.5F * x * x);
}

struct Moments {
    float mean;
    float inverse_deviation;
};

template <int V, int N, class Columns>
__device__ Moments moments(const Columns& columns, const float (&x)[N][V], float epsilon)
{
    float sum = 0;
#pragma unroll
    for (int k = 0; k < N; ++k)
#pragma unroll
        for (int v = 0; v < V; ++v)
            sum += x[k][v];
    const float mean = warp_sum(sum) / float(columns.width);
    float square = 0;
#pragma unroll
    for (int k = 0; k < N; ++k)
        if (columns.has(k))
#pragma unroll
            for (int v = 0; v < V; ++v)
                square += (x[k][v] - mean) * (x[k][v] - mean);
    return {mean, rsqrtf(warp_sum(square) / float(columns.width) + epsilon)};
}

template <class T, int V, int N>
__global__ void activate_kernel(int64_t rows, int64_t width, int64_t pitch, T* z, const float* bias, const T* first,
                                const int64_t* first_index, const T* second, const int64_t* second_index, T* a,
                                bool keep)
{
    const Lane<T, V, N> lane{width, int(threadIdx.x & 31)};
    const int64_t row = int64_t(blockIdx.x) * kWarps + (threadIdx.x >> 5);
    if (row >= rows)
        return;
    float x[N][V];
    lane.load(z + row * pitch, x);
    if (first)
        lane.add(first + first_index[row] * pitch, x);
    if (second)
        lane.add(second + second_index[row] * pitch, x);
    lane.add_parameters(bias, x);
    if (keep)
        lane.write(z + row * pitch, x);
#pragma unroll
    for (int k = 0; k < N; ++k)
#pragma unroll
        for (int v = 0; v < V; ++v)
            x[k][v] = gelu(x[k][v]);
    lane.write(a + row * pitch, x);
}

template <class T, int V, int N>
__global__ void finish_kernel(int64_t rows, int64_t width, const T* z, const float* bias, Norm norm, const T* residual,
                              T* out)
{
    const Lane<T, V, N> lane{width, int(threadIdx.x & 31)};
    const int64_t row = int64_t(blockIdx.x) * kWarps + (threadIdx.x >> 5);
    if (row >= rows)
        return;
    float x[N][V];
    lane.load(z + row * width, x);
    lane.add_parameters(bias, x);
    if (norm.weight) {
        const auto m = moments<V, N>(lane, x, norm.epsilon);
#pragma unroll
        for (int k = 0; k < N; ++k) {
            float weight[V], shift[V];
            lane.parameters(norm.weight, k, weight);
            lane.parameters(norm.bias, k, shift);
#pragma unroll
            for (int v = 0; v < V; ++v)
                x[k][v] = (x[k][v] - m.mean) * m.inverse_deviation * weight[v] + shift[v];
        }
    }
    if (residual)
        lane.add(residual + row * width, x);
    lane.write(out + row * width, x);
}

/// Adds the warps of a block in order; warp 0 writes the row of this block.
template <class T, int V, int N>
__device__ void write_part(const Lane<T, V, N>& lane, float* shared, float (&sums)[N][V], float* parts, int64_t pitch)
{
    if (!parts)
        return;
    const int warp = threadIdx.x >> 5;
    for (int turn = 1; turn < kWarps; ++turn) {
        __syncthreads();
        if (warp == turn)
            lane.write_sums(shared, sums);
        __syncthreads();
        if (warp == 0) {
#pragma unroll
            for (int k = 0; k < N; ++k)
                if (lane.has(k))
#pragma unroll
                    for (int v = 0; v < V; ++v)
                        sums[k][v] += shared[lane.column(k) + v];
        }
    }
    if (warp == 0)
        lane.write_sums(parts + int64_t(blockIdx.x) * pitch, sums);
}

template <class T, int V, int N>
__global__ void finish_backward_kernel(int64_t rows, int64_t width, const T* z, const float* bias, Norm norm,
                                       const T* grad_rows, const T* grad_sums, const int64_t* destination, T* dz,
                                       T* total, FinishSums parts)
{
    extern __shared__ float shared[];
    const Lane<T, V, N> lane{width, int(threadIdx.x & 31)};
    float bias_sums[N][V] = {}, weight_sums[N][V] = {}, shift_sums[N][V] = {};
    const int64_t stride = int64_t(gridDim.x) * kWarps;
    for (int64_t row = int64_t(blockIdx.x) * kWarps + (threadIdx.x >> 5); row < rows; row += stride) {
        float g[N][V];
        if (grad_rows) {
            lane.load(grad_rows + row * width, g);
        } else {
#pragma unroll
            for (int k = 0; k < N; ++k)
#pragma unroll
                for (int v = 0; v < V; ++v)
                    g[k][v] = 0;
        }
        if (grad_sums)
            lane.add(grad_sums + destination[row] * width, g);
        if (total)
            lane.write(total + row * width, g);
        if (norm.weight) {
            float x[N][V];
            lane.load(z + row * width, x);
            lane.add_parameters(bias, x);
            const auto m = moments<V, N>(lane, x, norm.epsilon);
            float along_one = 0, along_x = 0;
#pragma unroll
            for (int k = 0; k < N; ++k) {
                float weight[V];
                lane.parameters(norm.weight, k, weight);
#pragma unroll
                for (int v = 0; v < V; ++v) {
                    x[k][v] = lane.has(k) ? (x[k][v] - m.mean) * m.inverse_deviation : 0.0F;
                    weight_sums[k][v] += g[k][v] * x[k][v];
                    shift_sums[k][v] += g[k][v];
                    g[k][v] *= weight[v];
                    along_one += g[k][v];
                    along_x += g[k][v] * x[k][v];
                }
            }
            along_one = warp_sum(along_one) / float(width);
            along_x = warp_sum(along_x) / float(width);
#pragma unroll
            for (int k = 0; k < N; ++k)
#pragma unroll
                for (int v = 0; v < V; ++v)
                    g[k][v] = lane.has(k) ? (g[k][v] - along_one - x[k][v] * along_x) * m.inverse_deviation : 0.0F;
        }
#pragma unroll
        for (int k = 0; k < N; ++k)
#pragma unroll
            for (int v = 0; v < V; ++v)
                bias_sums[k][v] += g[k][v];
        lane.write(dz + row * width, g);
    }
    write_part(lane, shared, bias_sums, parts.bias, width);
    write_part(lane, shared, weight_sums, parts.norm_weight, width);
    write_part(lane, shared, shift_sums, parts.norm_bias, width);
}

template <class T, int V, int N>
__global__ void activate_backward_kernel(int64_t rows, int64_t width, int64_t pitch, const T* pre, T* da,
                                         float* bias_parts)
{
    extern __shared__ float shared[];
    const Lane<T, V, N> lane{width, int(threadIdx.x & 31)};
    float sums[N][V] = {};
    const int64_t stride = int64_t(gridDim.x) * kWarps;
    for (int64_t row = int64_t(blockIdx.x) * kWarps + (threadIdx.x >> 5); row < rows; row += stride) {
        float x[N][V], g[N][V];
        lane.load(pre + row * pitch, x);
        lane.load(da + row * pitch, g);
#pragma unroll
        for (int k = 0; k < N; ++k)
#pragma unroll
            for (int v = 0; v < V; ++v) {
                g[k][v] *= gelu_slope(x[k][v]);
                sums[k][v] += g[k][v];
            }
        lane.write(da + row * pitch, g);
    }
    write_part(lane, shared, sums, bias_parts, pitch);
}

template <class T, int V, int N>
__global__ void column_sums_kernel(int64_t rows, int64_t width, int64_t pitch, const T* x, const int64_t* ptr,
                                   float* parts)
{
    extern __shared__ float shared[];
    const Lane<T, V, N> lane{width, int(threadIdx.x & 31)};
    float sums[N][V] = {};
    const int64_t stride = int64_t(gridDim.x) * kWarps;
    for (int64_t row = int64_t(blockIdx.x) * kWarps + (threadIdx.x >> 5); row < rows; row += stride)
        if (!ptr || ptr[row + 1] > ptr[row])
            lane.add(x + row * pitch, sums);
    write_part(lane, shared, sums, parts, pitch);
}

/// A block takes 32 columns of a set, a warp every 32nd of its rows.
__global__ void sum_parts_kernel(PartsShape shape, const float* parts, float* sums)
{
    __shared__ float shared[32][33];
    const int column = threadIdx.x & 31, row = threadIdx.x >> 5;
    const int64_t at = int64_t(blockIdx.x) * 32 + column;
    const float* own = parts + int64_t(blockIdx.y) * shape.parts * shape.width + at;
    float sum = 0;
    if (at < shape.width)
        for (int64_t part = row; part < shape.parts; part += 32)
            sum += own[part * shape.width];
    shared[row][column] = sum;
    __syncthreads();
    sum = warp_sum(shared[column][row]); // the warp has taken a column now
    if (column == 0 && int64_t(blockIdx.x) * 32 + row < shape.width)
        sums[blockIdx.y * shape.width + int64_t(blockIdx.x) * 32 + row] = sum;
}

template <class T, int V, int N>
__global__ void segment_sum_kernel(int64_t segments, int64_t width, const T* rows, const int64_t* ptr,
                                   const int64_t* order, T* out)
{
    const Lane<T, V, N> lane{width, int(threadIdx.x & 31)};
    const int64_t segment = int64_t(blockIdx.x) * kWarps + (threadIdx.x >> 5);
    if (segment >= segments)
        return;
    float sum[N][V] = {};
    const int64_t end = ptr[segment + 1];
    for (int64_t i = ptr[segment]; i < end; ++i)
        lane.add(rows + (order ? order[i] : i) * width, sum);
    lane.write(out + segment * width, sum);
}

/// Calls `use` with the first number of packs a lane can hold that covers a width. Few numbers: every one is compiled.
template <class T, int V, int... N, class Use>
void with_packs(int64_t width, const Use& use)
{
    bool done = false;
    const auto attempt = [&]<int Packs>() {
        if (done || width > int64_t(32) * V * Packs)
            return;
        done = true;
        use.template operator()<T, V, Packs>();
    };
    (attempt.template operator()<N>(), ...);
    if (!done)
        throw std::runtime_error("[row_mlp] rows of " + std::to_string(width) + " columns are too wide for a GPU");
}

/// @param pitch  columns from a row to the next: packs have to begin at multiples of their size in every row
template <class Use>
void with_type(const Launch& launch, int64_t pitch, const Use& use)
{
    const auto divides = [&](int64_t pack) { return launch.width % pack == 0 && pitch % pack == 0; };
    if (launch.real == Real::BFloat16) {
        if (divides(8))
            with_packs<__nv_bfloat16, 8, 1, 2, 4, 8>(launch.width, use);
        else if (divides(4))
            with_packs<__nv_bfloat16, 4, 1, 4, 16>(launch.width, use);
        else
            with_packs<__nv_bfloat16, 1, 8, 64>(launch.width, use);
    } else {
        if (divides(4))
            with_packs<float, 4, 1, 4, 16>(launch.width, use);
        else
            with_packs<float, 1, 8, 64>(launch.width, use);
    }
}

/// Calls `use` for pieces of a row that are narrow enough for a warp.
template <class Use>
void by_columns(const Launch& launch, const Use& use)
{
    for (int64_t begin = 0; begin < launch.width; begin += kWidest) {
        auto piece = launch;
        piece.width = std::min(kWidest, launch.width - begin);
        use(piece, begin);
    }
}

cudaStream_t stream_of(const Launch& launch)
{
    return static_cast<cudaStream_t>(launch.stream);
}

} // namespace

int64_t count_parts(int64_t rows)
{
    return std::clamp<int64_t>((rows + kWarps - 1) / kWarps, 1, kMostParts);
}

void activate(const Launch& launch, void* z, const float* bias, const Spread (&spread)[2], void* a, Keep keep)
{
    if (launch.rows == 0)
        return;
    by_columns(launch, [&](const Launch& piece, int64_t begin) {
        with_type(piece, launch.width, [&]<class T, int V, int N>() {
            const auto at = [begin](const void* rows) { return rows ? static_cast<const T*>(rows) + begin : nullptr; };
            activate_kernel<T, V, N><<<blocks_for(piece.rows), kThreads, 0, stream_of(piece)>>>(
                piece.rows, piece.width, launch.width, static_cast<T*>(z) + begin, bias + begin, at(spread[0].rows),
                spread[0].index, at(spread[1].rows), spread[1].index, static_cast<T*>(a) + begin,
                keep == Keep::Argument);
        });
    });
    check("row_mlp", "activate");
}

void finish(const Launch& launch, const void* z, const float* bias, const Norm& norm, const void* residual, void* out)
{
    if (launch.rows == 0)
        return;
    with_type(launch, launch.width, [&]<class T, int V, int N>() {
        finish_kernel<T, V, N><<<blocks_for(launch.rows), kThreads, 0, stream_of(launch)>>>(
            launch.rows, launch.width, static_cast<const T*>(z), bias, norm, static_cast<const T*>(residual),
            static_cast<T*>(out));
    });
    check("row_mlp", "finish");
}

void finish_backward(const Launch& launch, const void* z, const float* bias, const Norm& norm,
                     const RowGradient& gradient, void* dz, void* total, const FinishSums& parts)
{
    const auto shared = size_t(launch.width) * sizeof(float);
    with_type(launch, launch.width, [&]<class T, int V, int N>() {
        finish_backward_kernel<T, V, N><<<unsigned(count_parts(launch.rows)), kThreads, shared, stream_of(launch)>>>(
            launch.rows, launch.width, static_cast<const T*>(z), bias, norm, static_cast<const T*>(gradient.rows),
            static_cast<const T*>(gradient.sums), gradient.destination, static_cast<T*>(dz), static_cast<T*>(total),
            parts);
    });
    check("row_mlp", "finish_backward");
}

void activate_backward(const Launch& launch, const void* pre, void* da, float* bias_parts)
{
    by_columns(launch, [&](const Launch& piece, int64_t begin) {
        const auto shared = size_t(piece.width) * sizeof(float);
        with_type(piece, launch.width, [&]<class T, int V, int N>() {
            activate_backward_kernel<T, V, N>
                <<<unsigned(count_parts(piece.rows)), kThreads, shared, stream_of(piece)>>>(
                    piece.rows, piece.width, launch.width, static_cast<const T*>(pre) + begin,
                    static_cast<T*>(da) + begin, bias_parts + begin);
        });
    });
    check("row_mlp", "activate_backward");
}

void column_sums(const Launch& launch, const void* x, const int64_t* ptr, float* parts)
{
    by_columns(launch, [&](const Launch& piece, int64_t begin) {
        const auto shared = size_t(piece.width) * sizeof(float);
        with_type(piece, launch.width, [&]<class T, int V, int N>() {
            column_sums_kernel<T, V, N><<<unsigned(count_parts(piece.rows)), kThreads, shared, stream_of(piece)>>>(
                piece.rows, piece.width, launch.width, static_cast<const T*>(x) + begin, ptr, parts + begin);
        });
    });
    check("row_mlp", "column_sums");
}

void sum_parts(const PartsShape& shape, const float* parts, float* sums, void* stream)
{
    const dim3 grid(unsigned((shape.width + 31) / 32), unsigned(shape.sets));
    sum_parts_kernel<<<grid, 1024, 0, static_cast<cudaStream_t>(stream)>>>(shape, parts, sums);
    check("row_mlp", "sum_parts");
}

void segment_sum(const Launch& launch, const void* rows, const int64_t* ptr, const int64_t* order, void* out)
{
    if (launch.rows == 0)
        return;
    with_type(launch, launch.width, [&]<class T, int V, int N>() {
        segment_sum_kernel<T, V, N><<<blocks_for(launch.rows), kThreads, 0, stream_of(launch)>>>(
            launch.rows, launch.width, static_cast<const T*>(rows), ptr, order, static_cast<T*>(out));
    });
    check("row_mlp", "segment_sum");
}

} // namespace gradwind::ops::row_mlp_cuda
