// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/orthonormal_cuda.h"

#include <cuda_runtime.h>

namespace gradwind::parallel::detail
{

namespace
{

constexpr int kThreads = 256, kWarp = 32, kWarps = kThreads / kWarp;

template <int R>
constexpr int kEntries = R*(R + 1) / 2; ///< of a symmetric matrix

__device__ double warp_sum(double value)
{
    for (int offset = kWarp / 2; offset > 0; offset /= 2)
        value += __shfl_down_sync(0xffffffffu, value, offset);
    return value;
}

/// Lower factors of a matrix and what block-wide sums pass through.
template <int R>
struct Shared {
    double lower[2][R][R];
    double of_warp[kWarps][kEntries<R>];
    double scale;
};

/// A row of the matrix to be made orthonormal, padded with zeros to R columns.
template <int R>
__device__ void load(const OrthonormalTask& task, const OrthonormalConstants& constants, const float* matrix,
                     const double* directions, double scale, int64_t row, double (&values)[R])
{
#pragma unroll
    for (int k = 0; k < R; ++k)
        values[k] = k < task.rank ? matrix[row * task.rank + k] * scale +
                                        directions[row * task.rank + k] * constants.direction_weight
                                  : 0.0;
}

/// values := q where q lower^T = values.
template <int R>
__device__ void solve(const double (&lower)[R][R], double (&values)[R])
{
#pragma unroll
    for (int k = 0; k < R; ++k) {
#pragma unroll
        for (int j = 0; j < k; ++j)
            values[k] -= values[j] * lower[k][j];
        values[k] /= lower[k][k];
    }
}

/// By one thread: the Cholesky factor of the sum over warps, after a shift of its diagonal. Padding becomes identity.
template <int R>
__device__ void factorise(const OrthonormalTask& task, const OrthonormalConstants& constants,
                          const double (&of_warp)[kWarps][kEntries<R>], double (&lower)[R][R])
{
    double trace = 0;
    for (int i = 0, entry = 0; i < R; ++i)
        for (int j = 0; j <= i; ++j, ++entry) {
            double sum = 0;
            for (int warp = 0; warp < kWarps; ++warp)
                sum += of_warp[warp][entry];
            lower[i][j] = sum;
            trace += i == j ? sum : 0;
        }
    for (int i = 0; i < R; ++i)
        lower[i][i] = i < task.rank ? lower[i][i] + constants.relative_shift * trace / double(task.rank) : 1.0;
    for (int i = 0; i < R; ++i)
        for (int j = 0; j <= i; ++j) {
            double sum = lower[i][j];
            for (int k = 0; k < j; ++k)
                sum -= lower[i][k] * lower[j][k];
            lower[i][j] = i == j ? sqrt(sum) : sum / lower[j][j];
        }
}

constexpr int kMostTasks = 32; ///< of a launch, whose parameters have their limit

struct Tasks {
    OrthonormalTask of[kMostTasks];
    int count = 0;
};

/// A block for a matrix. Rows are worked out again in every pass instead of being kept.
template <int R>
__global__ void __launch_bounds__(kThreads) orthonormalise(Tasks tasks, OrthonormalConstants constants)
{
    __shared__ Shared<R> shared;
    int number = 0;
    auto block = int64_t(blockIdx.x); // of the matrices of a task
    while (block >= tasks.of[number].count)
        block -= tasks.of[number++].count;
    const OrthonormalTask& task = tasks.of[number];
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    const int64_t size = task.rows * task.rank;
    const float* matrix = task.matrices + block * size;
    const double* directions = task.directions + block * size;
    double square = 0;
    for (int64_t i = threadIdx.x; i < size; i += kThreads)
        square += double(matrix[i]) * matrix[i];
    square = warp_sum(square);
    if (lane == 0)
        shared.of_warp[warp][0] = square;
    __syncthreads();
    if (threadIdx.x == 0) {
        double sum = 0;
        for (int other = 0; other < kWarps; ++other)
            sum += shared.of_warp[other][0];
        shared.scale = sum > 0 ? 1 / sqrt(sum) : 0; // the directions take the place of a matrix of zeros
    }
    __syncthreads();
    const double scale = shared.scale;
    for (int pass = 0; pass < 2; ++pass) {
        double sums[kEntries<R>] = {};
        for (int64_t row = threadIdx.x; row < task.rows; row += kThreads) {
            double values[R];
            load<R>(task, constants, matrix, directions, scale, row, values);
            if (pass == 1)
                solve<R>(shared.lower[0], values);
#pragma unroll
            for (int i = 0; i < R; ++i)
#pragma unroll
                for (int j = 0; j <= i; ++j)
                    sums[i * (i + 1) / 2 + j] += values[i] * values[j];
        }
#pragma unroll
        for (int entry = 0; entry < kEntries<R>; ++entry) {
            const double sum = warp_sum(sums[entry]);
            if (lane == 0)
                shared.of_warp[warp][entry] = sum;
        }
        __syncthreads();
        if (threadIdx.x == 0)
            factorise<R>(task, constants, shared.of_warp, shared.lower[pass]);
        __syncthreads();
    }
    float* result = task.result + block * size;
    for (int64_t row = threadIdx.x; row < task.rows; row += kThreads) {
        double values[R];
        load<R>(task, constants, matrix, directions, scale, row, values);
        solve<R>(shared.lower[0], values);
        solve<R>(shared.lower[1], values);
#pragma unroll
        for (int k = 0; k < R; ++k)
            if (k < task.rank)
                result[row * task.rank + k] = float(values[k]);
    }
}

template <int R>
void start(const Tasks& tasks, const OrthonormalConstants& constants, cudaStream_t queue)
{
    int64_t blocks = 0;
    for (int task = 0; task < tasks.count; ++task)
        blocks += tasks.of[task].count;
    if (blocks > 0)
        orthonormalise<R><<<unsigned(blocks), kThreads, 0, queue>>>(tasks, constants);
}

/// Those of ranks above R / 2 and up to R.
template <int R>
void start_all(std::span<const OrthonormalTask> all, const OrthonormalConstants& constants, cudaStream_t queue)
{
    Tasks tasks;
    for (const auto& task : all) {
        if (task.rank > R || (R > 2 && task.rank <= R / 2))
            continue;
        tasks.of[tasks.count++] = task;
        if (tasks.count == kMostTasks) {
            start<R>(tasks, constants, queue);
            tasks.count = 0;
        }
    }
    start<R>(tasks, constants, queue);
}

} // namespace

const char* orthonormalise_cuda(std::span<const OrthonormalTask> tasks, const OrthonormalConstants& constants,
                                void* stream)
{
    auto* queue = static_cast<cudaStream_t>(stream);
    start_all<2>(tasks, constants, queue);
    start_all<4>(tasks, constants, queue);
    start_all<8>(tasks, constants, queue);
    const cudaError_t status = cudaGetLastError();
    return status == cudaSuccess ? nullptr : cudaGetErrorString(status);
}

} // namespace gradwind::parallel::detail
