// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/adamw_cuda.h"

#include <cuda_runtime.h>

namespace gradwind::train::detail
{

namespace
{

constexpr int kThreads = 256;
constexpr int64_t kMostPartials = 1024; ///< of a dense piece
constexpr int kRows = 16;               ///< of a matrix that a thread works on with the columns of q in registers

const char* failure()
{
    const cudaError_t status = cudaGetLastError();
    return status == cudaSuccess ? nullptr : cudaGetErrorString(status);
}

/// Sum over a block, the same order every time; the result is in thread 0.
__device__ double block_sum(double value)
{
    __shared__ double sums[kThreads];
    sums[threadIdx.x] = value;
    __syncthreads();
    for (int half = kThreads / 2; half > 0; half /= 2) {
        if (threadIdx.x < half)
            sums[threadIdx.x] += sums[threadIdx.x + half];
        __syncthreads();
    }
    return sums[0];
}

__global__ void dense_squares(const float* __restrict__ gradients, int64_t count, double* __restrict__ partial)
{
    const int64_t stride = int64_t(gridDim.x) * kThreads, first = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    const auto* quads = reinterpret_cast<const float4*>(gradients);
    const int64_t n_quads = count / 4;
    double sum = 0;
    for (int64_t i = first; i < n_quads; i += stride) {
        const float4 g = quads[i];
        sum += double(g.x) * g.x + double(g.y) * g.y + double(g.z) * g.z + double(g.w) * g.w;
    }
    for (int64_t i = 4 * n_quads + first; i < count; i += stride)
        sum += double(gradients[i]) * gradients[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0)
        partial[blockIdx.x] = sum;
}

/// Part of element (a, b) of x^T x for x [rows, rank]: every `parts`-th row.
__device__ double gram(const float* __restrict__ x, int64_t rows, int64_t rank, int64_t a, int64_t b, int64_t part,
                       int64_t parts)
{
    double sum = 0;
    for (int64_t i = part; i < rows; i += parts)
        sum += double(x[i * rank + a]) * x[i * rank + b];
    return sum;
}

/// A block for a matrix: the sum over the products of the elements of p^T p and q^T q.
__global__ void factored_squares(AdamWPiece piece, double* __restrict__ partial)
{
    __shared__ double of_p[kThreads], of_q[kThreads];
    const int64_t rank = piece.rank, entries = rank * rank;
    const int64_t at_once = entries < kThreads ? entries : kThreads, parts = kThreads / at_once;
    const int64_t slot = threadIdx.x % at_once, part = threadIdx.x / at_once;
    const float* p = piece.p + blockIdx.x * piece.rows * rank;
    const float* q = piece.q + blockIdx.x * piece.columns * rank;
    double sum = 0;
    for (int64_t begin = 0; begin < entries; begin += at_once) {
        const int64_t entry = begin + slot;
        const bool busy = entry < entries && part < parts;
        of_p[threadIdx.x] = busy ? gram(p, piece.rows, rank, entry / rank, entry % rank, part, parts) : 0;
        of_q[threadIdx.x] = busy ? gram(q, piece.columns, rank, entry / rank, entry % rank, part, parts) : 0;
        __syncthreads();
        if (busy && part == 0) {
            double in_p = 0, in_q = 0;
            for (int64_t other = 0; other < parts; ++other) {
                in_p += of_p[other * at_once + slot];
                in_q += of_q[other * at_once + slot];
            }
            sum += in_p * in_q;
        }
        __syncthreads();
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0)
        partial[blockIdx.x] = sum;
}

__global__ void total_of(const double* __restrict__ partial, int64_t n, double* __restrict__ total)
{
    double sum = 0;
    for (int64_t i = threadIdx.x; i < n; i += kThreads)
        sum += partial[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0)
        *total = sum;
}

__global__ void decide(AdamWDevice* device, const double* __restrict__ total, AdamWRates rates)
{
    AdamWVerdict& verdict = device->verdict;
    verdict.sum_of_squares = *total;
    verdict.applied = isfinite(*total) ? 1 : 0;
    verdict.steps += verdict.applied;
    if (verdict.applied)
        device->factors = factors_of(rates, verdict.steps, sqrt(*total));
}

__device__ void update(float& parameter, float& exp_avg, float& exp_avg_sq, float gradient, const AdamWFactors& f)
{
    const float g = fminf(fmaxf(gradient * f.scale, -f.limit), f.limit);
    const float m = exp_avg + f.one_minus_beta1 * (g - exp_avg);
    const float v = exp_avg_sq * f.beta2 + f.one_minus_beta2 * g * g;
    exp_avg = m;
    exp_avg_sq = v;
    parameter = parameter * f.decay - f.step_size * m / (sqrtf(v) * f.inverse_sqrt_bc2 + f.eps);
}

__device__ void update(const AdamWPiece& piece, int64_t at, const float4& g, const AdamWFactors& f)
{
    auto* parameters = reinterpret_cast<float4*>(piece.parameter + at);
    auto* exp_avgs = reinterpret_cast<float4*>(piece.exp_avg + at);
    auto* exp_avg_sqs = reinterpret_cast<float4*>(piece.exp_avg_sq + at);
    float4 w = *parameters, m = *exp_avgs, v = *exp_avg_sqs;
    update(w.x, m.x, v.x, g.x, f);
    update(w.y, m.y, v.y, g.y, f);
    update(w.z, m.z, v.z, g.z, f);
    update(w.w, m.w, v.w, g.w, f);
    *parameters = w;
    *exp_avgs = m;
    *exp_avg_sqs = v;
}

__global__ void apply_dense(AdamWPiece piece, const AdamWDevice* __restrict__ device)
{
    if (!device->verdict.applied)
        return;
    const AdamWFactors f = device->factors;
    const int64_t stride = int64_t(gridDim.x) * kThreads, first = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    const int64_t n_quads = piece.count / 4;
    const auto* gradients = reinterpret_cast<const float4*>(piece.gradient);
    for (int64_t i = first; i < n_quads; i += stride)
        update(piece, 4 * i, gradients[i], f);
    for (int64_t i = 4 * n_quads + first; i < piece.count; i += stride)
        update(piece.parameter[i], piece.exp_avg[i], piece.exp_avg_sq[i], piece.gradient[i], f);
}

__device__ void add_product(float4& sum, float factor, const float4& x)
{
    sum.x += factor * x.x;
    sum.y += factor * x.y;
    sum.z += factor * x.z;
    sum.w += factor * x.w;
}

/// A thread has four columns of kRows rows of a matrix. Its columns of q stay in registers while R, the least power of
/// two that is not below the rank, allows it; R = 0: they are read again for every row.
template <int R>
__global__ void apply_factored_quads(AdamWPiece piece, const AdamWDevice* __restrict__ device)
{
    const int64_t column = 4 * (int64_t(blockIdx.x) * blockDim.x + threadIdx.x);
    if (!device->verdict.applied || column >= piece.columns)
        return;
    const AdamWFactors f = device->factors;
    const int64_t first = (int64_t(blockIdx.y) * blockDim.y + threadIdx.y) * kRows, rank = piece.rank;
    const float* qt = piece.qt + blockIdx.z * rank * piece.columns + column;
    const float* p = piece.p + blockIdx.z * piece.rows * rank;
    const auto q_of = [&](int64_t k) { return *reinterpret_cast<const float4*>(qt + k * piece.columns); };
    float4 q[R > 0 ? R : 1];
    if constexpr (R > 0)
        for (int k = 0; k < R; ++k)
            q[k] = k < rank ? q_of(k) : float4{0, 0, 0, 0};
    for (int64_t row = first; row < first + kRows && row < piece.rows; ++row) {
        float4 g = {0, 0, 0, 0};
        if constexpr (R > 0) {
            for (int k = 0; k < R; ++k)
                if (k < rank)
                    add_product(g, p[row * rank + k], q[k]);
        } else {
            for (int64_t k = 0; k < rank; ++k)
                add_product(g, p[row * rank + k], q_of(k));
        }
        update(piece, blockIdx.z * piece.stride + row * piece.columns + column, g, f);
    }
}

/// Where columns do not come in fours.
__global__ void apply_factored_single(AdamWPiece piece, const AdamWDevice* __restrict__ device)
{
    const int64_t column = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
    if (!device->verdict.applied || column >= piece.columns)
        return;
    const AdamWFactors f = device->factors;
    const int64_t first = (int64_t(blockIdx.y) * blockDim.y + threadIdx.y) * kRows, rank = piece.rank;
    const float* qt = piece.qt + blockIdx.z * rank * piece.columns + column;
    const float* p = piece.p + blockIdx.z * piece.rows * rank;
    for (int64_t row = first; row < first + kRows && row < piece.rows; ++row) {
        float g = 0;
        for (int64_t k = 0; k < rank; ++k)
            g += p[row * rank + k] * qt[k * piece.columns];
        const int64_t at = blockIdx.z * piece.stride + row * piece.columns + column;
        update(piece.parameter[at], piece.exp_avg[at], piece.exp_avg_sq[at], g, f);
    }
}

using FactoredKernel = void (*)(AdamWPiece, const AdamWDevice*);

FactoredKernel factored_kernel(const AdamWPiece& piece)
{
    // The arena's slices begin at multiples of 256 bytes, so four columns at a time are aligned where rows are.
    if (piece.columns % 4 != 0)
        return apply_factored_single;
    if (piece.rank <= 2)
        return apply_factored_quads<2>;
    if (piece.rank <= 4)
        return apply_factored_quads<4>;
    if (piece.rank <= 8)
        return apply_factored_quads<8>;
    return piece.rank <= 16 ? apply_factored_quads<16> : apply_factored_quads<0>;
}

} // namespace

int64_t partial_sums(const AdamWPiece& piece)
{
    if (piece.gradient == nullptr)
        return piece.matrices;
    const int64_t blocks = (piece.count + 4 * kThreads - 1) / (4 * kThreads);
    return blocks < kMostPartials ? (blocks > 0 ? blocks : 1) : kMostPartials;
}

const char* squares_cuda(const AdamWPiece& piece, double* partial, void* stream)
{
    auto* queue = static_cast<cudaStream_t>(stream);
    const auto blocks = unsigned(partial_sums(piece));
    if (piece.gradient != nullptr)
        dense_squares<<<blocks, kThreads, 0, queue>>>(piece.gradient, piece.count, partial);
    else
        factored_squares<<<blocks, kThreads, 0, queue>>>(piece, partial);
    return failure();
}

const char* total_cuda(const double* partial, int64_t n, double* total, void* stream)
{
    total_of<<<1, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(partial, n, total);
    return failure();
}

const char* decide_cuda(AdamWDevice* device, const double* total, const AdamWRates& rates, void* stream)
{
    decide<<<1, 1, 0, static_cast<cudaStream_t>(stream)>>>(device, total, rates);
    return failure();
}

const char* apply_cuda(const AdamWPiece& piece, const AdamWDevice* device, void* stream)
{
    auto* queue = static_cast<cudaStream_t>(stream);
    if (piece.gradient != nullptr) {
        const int64_t blocks = (piece.count / 4 + kThreads) / kThreads;
        apply_dense<<<unsigned(blocks < 4096 ? blocks : 4096), kThreads, 0, queue>>>(piece, device);
        return failure();
    }
    const int64_t across = piece.columns % 4 == 0 ? piece.columns / 4 : piece.columns;
    int64_t wide = 32;
    while (wide < across && wide < kThreads)
        wide *= 2;
    const int64_t high = kThreads / wide;
    const dim3 threads = {unsigned(wide), unsigned(high), 1};
    const dim3 blocks = {unsigned((across + wide - 1) / wide),
                         unsigned((piece.rows + high * kRows - 1) / (high * kRows)), unsigned(piece.matrices)};
    factored_kernel(piece)<<<blocks, threads, 0, queue>>>(piece, device);
    return failure();
}

} // namespace gradwind::train::detail
