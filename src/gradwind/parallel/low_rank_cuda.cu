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
constexpr int kSumThreads = 256;    ///< of a block that adds up splits
constexpr int kColumnThreads = 128; ///< of a block that has four columns a thread
constexpr int64_t kRowsOfThread = 16;
constexpr int kRowsAhead = 8;                          ///< that a thread reads before it works on one
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

/// Of 2 kHalf values a lane keeps half, with those of its partner added to them.
template <int kHalf, int kValues>
__device__ void halve(float (&values)[kValues])
{
    const bool upper = (threadIdx.x & kHalf) != 0;
#pragma unroll
    for (int i = 0; i < kHalf; ++i) {
        const float sent = upper ? values[i] : values[i + kHalf];
        const float kept = upper ? values[i + kHalf] : values[i];
        values[i] = kept + __shfl_xor_sync(0xffffffffu, sent, kHalf);
    }
}

/// Sums 32 or 16 values over the lanes of a warp; lane i returns the sum of value i, or i % 16. Half of the values
/// change hands, then half of the rest. Not a loop over the halves: its indices would put the values into memory.
template <int kValues>
__device__ float transposed_sum(float (&values)[kValues])
{
    if constexpr (kValues == kWarp)
        halve<16>(values);
    else
#pragma unroll
        for (int i = 0; i < kValues; ++i)
            values[i] += __shfl_xor_sync(0xffffffffu, values[i], 16);
    halve<8>(values);
    halve<4>(values);
    halve<2>(values);
    halve<1>(values);
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

/// Threads of a block of p_step, and values that each of them sums up: one for each row of the block and factor.
constexpr int kNarrowThreads = 256, kNarrowValues = 32; ///< of up to 1,024 columns
constexpr int kWideThreads = 1024, kWideValues = 16;

/// A block has some rows of a matrix, and a thread four columns of them, all of which it reads before it works on one.
/// Unless kOnce, the block does not reach all columns at once and reads them a second time, from the cache. Several
/// blocks share a multiprocessor, so that one reads while another adds up.
template <int R, int kThreads, int kValues, bool kOnce>
__global__ void __launch_bounds__(kThreads, kThreads == kNarrowThreads && R <= 4 ? 3 : 1)
    p_step(MatrixBatch m, const float* __restrict__ basis, Outstanding before, float* __restrict__ p)
{
    constexpr int kRows = kValues / R;
    __shared__ float of_warp[kThreads / kWarp][kWarp], total[kValues], earlier[kValues];
    const int64_t first = int64_t(blockIdx.x) * kRows;
    const int n_rows = m.rows - first < kRows ? int(m.rows - first) : kRows;
    float* rows = m.data + blockIdx.y * m.stride + first * m.columns;
    const float* q = basis + blockIdx.y * m.columns * m.rank;
    const float* right = before.right + blockIdx.y * m.columns * m.rank;
    float4 x[kRows];
    const auto read = [&](int64_t column) {
#pragma unroll
        for (int row = 0; row < kRows; ++row)
            x[row] =
                row < n_rows ? *reinterpret_cast<const float4*>(rows + row * m.columns + column) : float4{0, 0, 0, 0};
    };
    const auto take_off = [&](int64_t column, const float* __restrict__ columns, const float* factors) {
        float c[4][R];
        load_rows<R>(columns, column, m.rank, c);
#pragma unroll
        for (int row = 0; row < kRows; ++row)
            x[row] = reduced<R>(x[row], factors + row * R, c);
    };
    const int64_t begin = 4 * threadIdx.x;
    if (kOnce && begin < m.columns)
        read(begin); // under way while the factors come
    // Thread i < kValues has factor i % R of row i / R.
    const int own_row = threadIdx.x / R, own_k = threadIdx.x % R;
    const bool is_ours = threadIdx.x < kValues && own_row < n_rows && own_k < m.rank;
    const int64_t place = (blockIdx.y * m.rows + first + own_row) * m.rank + own_k;
    if (threadIdx.x < kValues)
        earlier[threadIdx.x] = is_ours ? before.left[place] : 0.0f;
    __syncthreads();
    float sums[kValues] = {};
    for (int64_t column = begin; column < m.columns; column += 4 * kThreads) {
        if constexpr (!kOnce)
            read(column);
        take_off(column, right, earlier);
        float b[4][R];
        load_rows<R>(q, column, m.rank, b);
#pragma unroll
        for (int row = 0; row < kRows; ++row)
#pragma unroll
            for (int k = 0; k < R; ++k)
                sums[row * R + k] += x[row].x * b[0][k] + x[row].y * b[1][k] + x[row].z * b[2][k] + x[row].w * b[3][k];
        if constexpr (kOnce)
            break;
    }
    of_warp[threadIdx.x / kWarp][threadIdx.x % kWarp] = transposed_sum<kValues>(sums);
    __syncthreads();
    if (threadIdx.x < kValues) {
        float sum = 0;
        for (int warp = 0; warp < kThreads / kWarp; ++warp)
            sum += of_warp[warp][threadIdx.x];
        if (is_ours)
            p[place] = sum;
        total[threadIdx.x] = sum;
    }
    __syncthreads();
    for (int64_t column = begin; column < m.columns; column += 4 * kThreads) {
        if constexpr (!kOnce) {
            read(column);
            take_off(column, right, earlier);
        }
        take_off(column, q, total);
#pragma unroll
        for (int row = 0; row < kRows; ++row)
            if (row < n_rows)
                *reinterpret_cast<float4*>(rows + row * m.columns + column) = x[row];
        if constexpr (kOnce)
            break;
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
    for (int64_t begin = first; begin < last; begin += kRowsAhead) {
        float4 x[kRowsAhead];
#pragma unroll
        for (int i = 0; i < kRowsAhead; ++i)
            x[i] = begin + i < last ? *reinterpret_cast<const float4*>(matrix + (begin + i) * m.columns)
                                    : float4{0, 0, 0, 0};
#pragma unroll
        for (int i = 0; i < kRowsAhead; ++i) {
            float b[R];
            load_row<R>(p, begin + i < last ? begin + i : begin, m.rank, b);
#pragma unroll
            for (int k = 0; k < R; ++k) {
                sums[0][k] += x[i].x * b[k];
                sums[1][k] += x[i].y * b[k];
                sums[2][k] += x[i].z * b[k];
                sums[3][k] += x[i].w * b[k];
            }
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

template <int R, int kThreads, int kValues, bool kOnce>
void start_p(const MatrixBatch& m, const float* basis, const Outstanding& before, float* p, cudaStream_t queue)
{
    const int64_t rows = kValues / R;
    const dim3 blocks = {unsigned((m.rows + rows - 1) / rows), unsigned(m.count), 1};
    p_step<R, kThreads, kValues, kOnce><<<blocks, kThreads, 0, queue>>>(m, basis, before, p);
}

template <int R>
const char* launch_p(const MatrixBatch& m, const float* basis, const Outstanding& before, float* p, cudaStream_t queue)
{
    if (m.columns <= 4 * kNarrowThreads)
        start_p<R, kNarrowThreads, R == 2 ? kNarrowValues / 2 : kNarrowValues, true>(m, basis, before, p, queue);
    else if (m.columns <= 4 * kWideThreads)
        start_p<R, kWideThreads, kWideValues, true>(m, basis, before, p, queue);
    else
        start_p<R, kWideThreads, kWideValues, false>(m, basis, before, p, queue);
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
    const dim3 sums = {unsigned((size + kSumThreads - 1) / kSumThreads), unsigned(m.count), 1};
    add_splits<<<sums, kSumThreads, 0, queue>>>(m, splits, space, q, copy);
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
