// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/low_rank_cuda.h"

#include <cuda_runtime.h>

namespace gradwind::parallel::detail
{

namespace
{

constexpr int64_t kMostRank = 16;
constexpr int kWarp = 32;
constexpr int kRowThreads = 256;    ///< of a block that has some rows
constexpr int kColumnThreads = 128; ///< of a block that has four columns a thread
constexpr int64_t kRowsOfThread = 16;
constexpr int64_t kRowsOfSplit = 64, kMostSplits = 64; ///< few matrices are to fill a GPU, too

const char* failure()
{
    const cudaError_t status = cudaGetLastError();
    return status == cudaSuccess ? nullptr : cudaGetErrorString(status);
}

/// Four rows of a factor [n, rank], padded with zeros to R columns.
template <int R>
__device__ void load_rows(const float* __restrict__ factor, int64_t first, int64_t rank, float (&rows)[4][R])
{
    const float* begin = factor + first * rank;
    if constexpr (R % 4 == 0)
        if (rank == R && reinterpret_cast<uintptr_t>(begin) % 16 == 0) {
#pragma unroll
            for (int i = 0; i < R; ++i) {
                const float4 x = reinterpret_cast<const float4*>(begin)[i];
                float* to = &rows[4 * i / R][4 * i % R];
                to[0] = x.x, to[1] = x.y, to[2] = x.z, to[3] = x.w;
            }
            return;
        }
#pragma unroll
    for (int j = 0; j < 4; ++j)
#pragma unroll
        for (int k = 0; k < R; ++k)
            rows[j][k] = k < rank ? begin[j * rank + k] : 0.0f;
}

template <int R>
__device__ void load_row(const float* __restrict__ factor, int64_t row, int64_t rank, float (&values)[R])
{
#pragma unroll
    for (int k = 0; k < R; ++k)
        values[k] = k < rank ? factor[row * rank + k] : 0.0f;
}

/// m - sum over k of left[k] * right[j][k], for the four columns j.
template <int R>
__device__ float4 reduced(float4 m, const float (&left)[R], const float (&right)[4][R])
{
#pragma unroll
    for (int k = 0; k < R; ++k) {
        m.x -= left[k] * right[0][k];
        m.y -= left[k] * right[1][k];
        m.z -= left[k] * right[2][k];
        m.w -= left[k] * right[3][k];
    }
    return m;
}

/// Sums 32 values over the lanes of a warp; lane i returns the sum of value i. Half of the values change hands, then
/// half of the rest: 31 exchanges.
__device__ float transposed_sum(float (&values)[kWarp])
{
    const int lane = threadIdx.x % kWarp;
#pragma unroll
    for (int offset = kWarp / 2; offset > 0; offset /= 2) {
        const bool upper = (lane & offset) != 0;
#pragma unroll
        for (int i = 0; i < offset; ++i) {
            const float sent = upper ? values[i] : values[i + offset];
            const float kept = upper ? values[i + offset] : values[i];
            values[i] = kept + __shfl_xor_sync(0xffffffffu, sent, offset);
        }
    }
    return values[0];
}

/// m - left right^T for four columns.
template <int R>
__device__ float4 reduced(float4 m, const float* left, const float (&right)[4][R])
{
    float own[R];
#pragma unroll
    for (int k = 0; k < R; ++k)
        own[k] = left[k];
    return reduced<R>(m, own, right);
}

/// A block has 32 / R rows of a matrix. Its second pass over them finds them in the cache. Four blocks share a
/// multiprocessor where registers allow it, so that one reads while another adds up.
template <int R>
__global__ void __launch_bounds__(kRowThreads, R <= 4 ? 4 : 1)
    p_step(MatrixBatch m, const float* __restrict__ basis, Outstanding before, float* __restrict__ p)
{
    constexpr int kRows = kWarp / R;
    __shared__ float of_warp[kRowThreads / kWarp][kWarp], total[kWarp], earlier[kWarp];
    const int64_t first = int64_t(blockIdx.x) * kRows;
    const int n_rows = m.rows - first < kRows ? int(m.rows - first) : kRows;
    float* rows = m.data + blockIdx.y * m.stride + first * m.columns;
    const float* q = basis + blockIdx.y * m.columns * m.rank;
    float sums[kWarp] = {};
    for (int64_t column = 4 * threadIdx.x; column < m.columns; column += 4 * kRowThreads) {
        float b[4][R];
        load_rows<R>(q, column, m.rank, b);
#pragma unroll
        for (int row = 0; row < kRows; ++row) {
            if (row >= n_rows)
                break;
            const float4 x = *reinterpret_cast<const float4*>(rows + row * m.columns + column);
#pragma unroll
            for (int k = 0; k < R; ++k)
                sums[row * R + k] += x.x * b[0][k] + x.y * b[1][k] + x.z * b[2][k] + x.w * b[3][k];
        }
    }
    of_warp[threadIdx.x / kWarp][threadIdx.x % kWarp] = transposed_sum(sums);
    __syncthreads();
    if (threadIdx.x < kWarp) {
        float sum = 0;
        for (int warp = 0; warp < kRowThreads / kWarp; ++warp)
            sum += of_warp[warp][threadIdx.x];
        const int row = threadIdx.x / R, k = threadIdx.x % R;
        const bool is_ours = row < n_rows && k < m.rank;
        const float* left = before.left + (blockIdx.y * m.rows + first + row) * m.rank;
        const float* onto = before.onto + blockIdx.y * m.rank * m.rank;
        earlier[threadIdx.x] = is_ours ? left[k] : 0.0f;
        if (is_ours) {
            for (int j = 0; j < m.rank; ++j)
                sum -= left[j] * onto[j * m.rank + k];
            p[(blockIdx.y * m.rows + first + row) * m.rank + k] = sum;
        }
        total[threadIdx.x] = sum;
    }
    __syncthreads();
    const float* right = before.right + blockIdx.y * m.columns * m.rank;
    for (int64_t column = 4 * threadIdx.x; column < m.columns; column += 4 * kRowThreads) {
        float b[4][R], c[4][R];
        load_rows<R>(q, column, m.rank, b);
        load_rows<R>(right, column, m.rank, c);
#pragma unroll
        for (int row = 0; row < kRows; ++row) {
            if (row >= n_rows)
                break;
            auto* place = reinterpret_cast<float4*>(rows + row * m.columns + column);
            *place = reduced<R>(reduced<R>(*place, total + row * R, b), earlier + row * R, c);
        }
    }
}

__host__ __device__ int64_t splits_of(const MatrixBatch& m)
{
    const int64_t splits = (m.rows + kRowsOfSplit - 1) / kRowsOfSplit;
    return splits < kMostSplits ? splits : kMostSplits;
}

/// A thread has four columns of the rows of one split. @param space [count, splits, columns, rank]
template <int R>
__global__ void __launch_bounds__(kColumnThreads)
    project_columns(MatrixBatch m, const float* __restrict__ basis, float* __restrict__ space)
{
    const int64_t column = 4 * (int64_t(blockIdx.x) * kColumnThreads + threadIdx.x);
    if (column >= m.columns)
        return;
    const int64_t splits = gridDim.y, share = (m.rows + splits - 1) / splits, first = blockIdx.y * share;
    const int64_t last = first + share < m.rows ? first + share : m.rows;
    const float* matrix = m.data + blockIdx.z * m.stride + column;
    const float* p = basis + blockIdx.z * m.rows * m.rank;
    float sums[4][R] = {};
#pragma unroll 4
    for (int64_t row = first; row < last; ++row) {
        const float4 x = *reinterpret_cast<const float4*>(matrix + row * m.columns);
        float b[R];
        load_row<R>(p, row, m.rank, b);
#pragma unroll
        for (int k = 0; k < R; ++k) {
            sums[0][k] += x.x * b[k];
            sums[1][k] += x.y * b[k];
            sums[2][k] += x.z * b[k];
            sums[3][k] += x.w * b[k];
        }
    }
    float* out = space + ((blockIdx.z * splits + blockIdx.y) * m.columns + column) * m.rank;
#pragma unroll
    for (int j = 0; j < 4; ++j)
#pragma unroll
        for (int k = 0; k < R; ++k)
            if (k < m.rank)
                out[j * m.rank + k] = sums[j][k];
}

/// q and its copy [count, columns, rank]: the sum over splits.
__global__ void add_splits(MatrixBatch m, int64_t splits, const float* __restrict__ space, float* __restrict__ q,
                           float* __restrict__ copy)
{
    const int64_t size = m.columns * m.rank, at = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
    if (at >= size)
        return;
    float sum = 0;
    for (int64_t split = 0; split < splits; ++split)
        sum += space[(blockIdx.y * splits + split) * size + at];
    q[blockIdx.y * size + at] = sum;
    copy[blockIdx.y * size + at] = sum;
}

/// m -= p q^T. A thread has four columns of some rows.
template <int R>
__global__ void __launch_bounds__(kColumnThreads)
    subtract(MatrixBatch m, const float* __restrict__ p, const float* __restrict__ q)
{
    const int64_t column = 4 * (int64_t(blockIdx.x) * kColumnThreads + threadIdx.x);
    if (column >= m.columns)
        return;
    float b[4][R];
    load_rows<R>(q + blockIdx.z * m.columns * m.rank, column, m.rank, b);
    const float* left = p + blockIdx.z * m.rows * m.rank;
    float* matrix = m.data + blockIdx.z * m.stride + column;
    const int64_t first = blockIdx.y * kRowsOfThread;
    const int64_t last = first + kRowsOfThread < m.rows ? first + kRowsOfThread : m.rows;
#pragma unroll 4
    for (int64_t row = first; row < last; ++row) {
        float own[R];
        load_row<R>(left, row, m.rank, own);
        auto* place = reinterpret_cast<float4*>(matrix + row * m.columns);
        *place = reduced<R>(*place, own, b);
    }
}

template <int R>
const char* launch_p(const MatrixBatch& m, const float* basis, const Outstanding& before, float* p, cudaStream_t queue)
{
    const int64_t rows = kWarp / R;
    const dim3 blocks = {unsigned((m.rows + rows - 1) / rows), unsigned(m.count), 1};
    p_step<R><<<blocks, kRowThreads, 0, queue>>>(m, basis, before, p);
    return failure();
}

unsigned blocks_across(const MatrixBatch& m)
{
    return unsigned((m.columns / 4 + kColumnThreads - 1) / kColumnThreads);
}

template <int R>
const char* launch_q(const MatrixBatch& m, const float* basis, float* q, float* copy, float* space, cudaStream_t queue)
{
    const int64_t splits = splits_of(m), size = m.columns * m.rank;
    const dim3 parts = {blocks_across(m), unsigned(splits), unsigned(m.count)};
    project_columns<R><<<parts, kColumnThreads, 0, queue>>>(m, basis, space);
    const dim3 sums = {unsigned((size + kRowThreads - 1) / kRowThreads), unsigned(m.count), 1};
    add_splits<<<sums, kRowThreads, 0, queue>>>(m, splits, space, q, copy);
    return failure();
}

template <int R>
const char* launch_subtract(const MatrixBatch& m, const float* p, const float* q, cudaStream_t queue)
{
    const dim3 rows = {blocks_across(m), unsigned((m.rows + kRowsOfThread - 1) / kRowsOfThread), unsigned(m.count)};
    subtract<R><<<rows, kColumnThreads, 0, queue>>>(m, p, q);
    return failure();
}

} // namespace

bool takes(const MatrixBatch& m)
{
    constexpr int64_t kMostBlocks = 65535; // in all directions but the first
    return m.rank >= 1 && m.rank <= kMostRank && m.columns % 4 == 0 && m.stride % 4 == 0 && m.count <= kMostBlocks &&
           m.rows <= kMostBlocks * kRowsOfThread && reinterpret_cast<uintptr_t>(m.data) % 16 == 0;
}

const char* p_step_cuda(const MatrixBatch& m, const float* basis, const Outstanding& before, float* p, void* stream)
{
    auto* queue = static_cast<cudaStream_t>(stream);
    if (m.rank <= 2)
        return launch_p<2>(m, basis, before, p, queue);
    if (m.rank <= 4)
        return launch_p<4>(m, basis, before, p, queue);
    return m.rank <= 8 ? launch_p<8>(m, basis, before, p, queue) : launch_p<16>(m, basis, before, p, queue);
}

int64_t q_step_space(const MatrixBatch& m)
{
    return m.count * splits_of(m) * m.columns * m.rank;
}

const char* q_step_cuda(const MatrixBatch& m, const float* basis, float* q, float* copy, float* space, void* stream)
{
    auto* queue = static_cast<cudaStream_t>(stream);
    if (m.rank <= 2)
        return launch_q<2>(m, basis, q, copy, space, queue);
    if (m.rank <= 4)
        return launch_q<4>(m, basis, q, copy, space, queue);
    return m.rank <= 8 ? launch_q<8>(m, basis, q, copy, space, queue) : launch_q<16>(m, basis, q, copy, space, queue);
}

const char* subtract_cuda(const MatrixBatch& m, const float* p, const float* q, void* stream)
{
    auto* queue = static_cast<cudaStream_t>(stream);
    if (m.rank <= 2)
        return launch_subtract<2>(m, p, q, queue);
    if (m.rank <= 4)
        return launch_subtract<4>(m, p, q, queue);
    return m.rank <= 8 ? launch_subtract<8>(m, p, q, queue) : launch_subtract<16>(m, p, q, queue);
}

} // namespace gradwind::parallel::detail
