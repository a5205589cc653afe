// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/ops/cuda_rows.cuh"
#include "gradwind/ops/edge_attention_cuda_kernels.h"

namespace gradwind::ops::edge_attention_cuda
{

namespace
{

using namespace cuda_rows;

/// Sum over the G lanes that share a head; all of them get it.
template <int G>
__device__ float head_sum(float x)
{
#pragma unroll
    for (int offset = G / 2; offset > 0; offset /= 2)
        x += __shfl_xor_sync(0xffffffffU, x, offset);
    return x;
}

/// What a lane holds of [heads, features] per pack: features r, r + G, ... where r is its place in the head.
template <int G>
constexpr int kOwn = kMostFeatures / G > 0 ? kMostFeatures / G : 1;

template <class T, int V, int N, int G>
struct Heads {
    const Task& task;
    Lane<T, V, N> lane;
    int place; ///< in the head
    static constexpr int own = kOwn<G>;

    __device__ explicit Heads(const Task& task)
        : task(task), lane{int64_t(task.heads) * task.depth, int(threadIdx.x & 31)}, place(int(threadIdx.x & 31) % G)
    {
    }

    __device__ int head(int k) const { return int(lane.column(k)) / task.depth; }
    __device__ bool leads(int k) const { return place == 0 && lane.has(k); }
    __device__ static const T* row(const Rows& rows, int64_t i)
    {
        return static_cast<const T*>(rows.data) + i * rows.stride;
    }

    __device__ float dot(const float (&a)[V], const float (&b)[V]) const
    {
        float sum = 0;
#pragma unroll
        for (int v = 0; v < V; ++v)
            sum += a[v] * b[v];
        return sum;
    }

    /// weight^T x, head by head: what the features are multiplied by.
    __device__ void to_features(const float (&x)[N][V], float (&u)[N][own]) const
    {
#pragma unroll
        for (int k = 0; k < N; ++k)
#pragma unroll
            for (int i = 0; i < kMostFeatures; ++i) {
                if (i >= task.features) {
                    if (i % G == place)
                        u[k][i / G] = 0;
                    continue;
                }
                float sum = 0;
                if (lane.has(k)) {
                    const float* w = task.weight + i * lane.width + lane.column(k);
#pragma unroll
                    for (int v = 0; v < V; ++v)
                        sum += x[k][v] * w[v];
                }
                sum = head_sum<G>(sum);
                if (i % G == place)
                    u[k][i / G] = sum;
            }
    }

    /// x += weight u, head by head.
    __device__ void add_from_features(const float (&u)[N][own], float (&x)[N][V]) const
    {
        const int first = int(threadIdx.x & 31) - place;
#pragma unroll
        for (int k = 0; k < N; ++k)
#pragma unroll
            for (int i = 0; i < kMostFeatures; ++i) {
                if (i >= task.features)
                    break;
                const float value = __shfl_sync(0xffffffffU, u[k][i / G], first + i % G);
                if (lane.has(k)) {
                    const float* w = task.weight + i * lane.width + lane.column(k);
#pragma unroll
                    for (int v = 0; v < V; ++v)
                        x[k][v] += value * w[v];
                }
            }
    }

    /// The features of an edge that this lane multiplies.
    __device__ void load_features(int64_t edge, float (&f)[own]) const
    {
#pragma unroll
        for (int j = 0; j < own; ++j) {
            const int i = place + j * G;
            f[j] = i < task.features ? task.f[edge * task.features + i] : 0.0F;
        }
    }

    __device__ float dot_features(const float (&u)[own], const float (&f)[own]) const
    {
        float sum = 0;
#pragma unroll
        for (int j = 0; j < own; ++j)
            sum += u[j] * f[j];
        return sum;
    }

    __device__ void write_features(void* to, int64_t destination, const float (&u)[N][own]) const
    {
#pragma unroll
        for (int k = 0; k < N; ++k)
            if (lane.has(k))
#pragma unroll
                for (int j = 0; j < own; ++j)
                    if (place + j * G < kMostFeatures)
                        store(static_cast<T*>(to)[(destination * task.heads + head(k)) * kMostFeatures + place + j * G],
                              u[k][j]);
    }
};

template <class T, int V, int N, int G>
__global__ void forward_kernel(Task task, T* out, float* lse)
{
    const int64_t i = int64_t(blockIdx.x) * kWarps + (threadIdx.x >> 5);
    if (i >= task.n_dst)
        return;
    const Heads<T, V, N, G> heads(task);
    const auto& lane = heads.lane;
    float q[N][V], u[N][kOwn<G>], sum[N][V] = {}, features[N][kOwn<G>] = {}, total[N] = {}, largest[N];
    lane.load(heads.row(task.q, i), q);
    heads.to_features(q, u);
#pragma unroll
    for (int k = 0; k < N; ++k)
        largest[k] = -INFINITY;
    const int64_t begin = task.dst_ptr[i], end = task.dst_ptr[i + 1];
    for (int64_t e = begin; e < end; ++e) {
        const int64_t j = task.src[e];
        float key[N][V], value[N][V], f[kOwn<G>];
        lane.load(heads.row(task.k, j), key);
        lane.load(heads.row(task.v, j), value);
        heads.load_features(e, f);
#pragma unroll
        for (int k = 0; k < N; ++k) {
            const float score = task.scale * head_sum<G>(heads.dot(q[k], key[k]) + heads.dot_features(u[k], f));
            const float next = fmaxf(largest[k], score);
            const float shrink = __expf(largest[k] - next), share = __expf(score - next);
            largest[k] = next;
            total[k] = total[k] * shrink + share;
#pragma unroll
            for (int v = 0; v < V; ++v)
                sum[k][v] = sum[k][v] * shrink + share * value[k][v];
#pragma unroll
            for (int n = 0; n < kOwn<G>; ++n)
                features[k][n] = features[k][n] * shrink + share * f[n];
        }
    }
    if (begin < end) {
#pragma unroll
        for (int k = 0; k < N; ++k) {
            const float inverse = 1.0F / total[k];
#pragma unroll
            for (int v = 0; v < V; ++v)
                sum[k][v] = sum[k][v] * inverse + lane.parameter(task.bias, k, v);
#pragma unroll
            for (int n = 0; n < kOwn<G>; ++n)
                features[k][n] *= inverse;
        }
        heads.add_from_features(features, sum);
    }
    lane.write(out + i * lane.width, sum);
#pragma unroll
    for (int k = 0; k < N; ++k)
        if (heads.leads(k))
            lse[i * task.heads + heads.head(k)] = begin < end ? largest[k] + __logf(total[k]) : 0.0F;
}

template <class T, int V, int N, int G>
__global__ void destinations_kernel(Task task, Backward b)
{
    const int64_t i = int64_t(blockIdx.x) * kWarps + (threadIdx.x >> 5);
    if (i >= task.n_dst)
        return;
    const Heads<T, V, N, G> heads(task);
    const auto& lane = heads.lane;
    constexpr int own = kOwn<G>;
    float q[N][V], grad[N][V], u[N][own], t[N][own], expected[N], lse[N];
    float grad_q[N][V] = {}, of_values[N][own] = {}, of_scores[N][own] = {};
    lane.load(heads.row(task.q, i), q);
    lane.load(static_cast<const T*>(b.grad_out) + i * lane.width, grad);
    heads.to_features(q, u);
    heads.to_features(grad, t);
    {
        // The mean of the shares' gradients, without what the bias adds to every one of them.
        float out[N][V];
        lane.load(static_cast<const T*>(b.out) + i * lane.width, out);
#pragma unroll
        for (int k = 0; k < N; ++k) {
#pragma unroll
            for (int v = 0; v < V; ++v)
                out[k][v] -= lane.parameter(task.bias, k, v);
            expected[k] = head_sum<G>(heads.dot(grad[k], out[k]));
            lse[k] = lane.has(k) ? b.lse[i * task.heads + heads.head(k)] : 0.0F;
        }
    }
    const int64_t end = task.dst_ptr[i + 1];
    for (int64_t e = task.dst_ptr[i]; e < end; ++e) {
        const int64_t j = task.src[e];
        float key[N][V], value[N][V], f[own], grad_f[own] = {};
        lane.load(heads.row(task.k, j), key);
        lane.load(heads.row(task.v, j), value);
        heads.load_features(e, f);
#pragma unroll
        for (int k = 0; k < N; ++k) {
            const float score = task.scale * head_sum<G>(heads.dot(q[k], key[k]) + heads.dot_features(u[k], f));
            const float slope_of_share = head_sum<G>(heads.dot(grad[k], value[k]) + heads.dot_features(t[k], f));
            const float share = __expf(score - lse[k]);
            const float slope = share * (slope_of_share - expected[k]) * task.scale;
            if (heads.leads(k)) {
                b.shares[e * task.heads + heads.head(k)] = share;
                b.slopes[e * task.heads + heads.head(k)] = slope;
            }
#pragma unroll
            for (int v = 0; v < V; ++v)
                grad_q[k][v] += slope * key[k][v];
#pragma unroll
            for (int n = 0; n < own; ++n) {
                of_values[k][n] += share * f[n];
                of_scores[k][n] += slope * f[n];
                grad_f[n] += slope * u[k][n] + share * t[k][n];
            }
        }
        if (!b.grad_f)
            continue;
#pragma unroll
        for (int n = 0; n < own; ++n) {
#pragma unroll
            for (int offset = G; offset < 32; offset *= 2)
                grad_f[n] += __shfl_xor_sync(0xffffffffU, grad_f[n], offset);
            const int feature = heads.place + n * G;
            if ((threadIdx.x & 31) < G && feature < task.features)
                b.grad_f[e * task.features + feature] = grad_f[n];
        }
    }
    heads.add_from_features(of_scores, grad_q);
    lane.write(static_cast<T*>(b.grad_q) + i * lane.width, grad_q);
    heads.write_features(b.features_of_values, i, of_values);
    heads.write_features(b.features_of_scores, i, of_scores);
}

template <class T, int V, int N, int G>
__global__ void sources_kernel(Task task, Backward b)
{
    const int64_t j = int64_t(blockIdx.x) * kWarps + (threadIdx.x >> 5);
    if (j >= task.n_src)
        return;
    const Heads<T, V, N, G> heads(task);
    const auto& lane = heads.lane;
    float grad_k[N][V] = {}, grad_v[N][V] = {};
    const int64_t end = task.src_ptr[j + 1];
    for (int64_t n = task.src_ptr[j]; n < end; ++n) {
        const int64_t e = task.by_src[n], i = task.dst[e];
        float q[N][V], grad[N][V];
        lane.load(heads.row(task.q, i), q);
        lane.load(static_cast<const T*>(b.grad_out) + i * lane.width, grad);
#pragma unroll
        for (int k = 0; k < N; ++k) {
            if (!lane.has(k))
                continue;
            const float share = b.shares[e * task.heads + heads.head(k)];
            const float slope = b.slopes[e * task.heads + heads.head(k)];
#pragma unroll
            for (int v = 0; v < V; ++v) {
                grad_k[k][v] += slope * q[k][v];
                grad_v[k][v] += share * grad[k][v];
            }
        }
    }
    lane.write(static_cast<T*>(b.grad_k) + j * lane.width, grad_k);
    lane.write(static_cast<T*>(b.grad_v) + j * lane.width, grad_v);
}

/// Calls `use` with the packs of a lane and the lanes of a head that fit; false where none is made for it.
template <class T, int V, int... N>
struct Sizes {
    template <class Use>
    static bool with(int64_t width, int64_t depth, const Use& use)
    {
        bool done = false;
        const auto packs = [&]<int Packs>() {
            if (done || width > int64_t(32) * V * Packs)
                return;
            done = with_group<Packs>(depth, use);
        };
        (packs.template operator()<N>(), ...);
        return done;
    }

    template <int Packs, class Use>
    static bool with_group(int64_t depth, const Use& use)
    {
        switch (depth / V * (depth % V == 0)) {
        case 2:
            use.template operator()<T, V, Packs, 2>();
            return true;
        case 4:
            use.template operator()<T, V, Packs, 4>();
            return true;
        case 8:
            use.template operator()<T, V, Packs, 8>();
            return true;
        case 16:
            use.template operator()<T, V, Packs, 16>();
            return true;
        default:
            return false;
        }
    }
};

template <class Use>
bool with_sizes(Real real, int64_t width, int64_t depth, const Use& use)
{
    if (real == Real::BFloat16)
        return Sizes<__nv_bfloat16, 8, 1, 2, 4>::with(width, depth, use);
    return Sizes<float, 4, 1, 4, 8>::with(width, depth, use);
}

} // namespace

bool takes(Real real, int64_t heads, int64_t depth, int64_t features)
{
    return features <= kMostFeatures && with_sizes(real, heads * depth, depth, []<class T, int V, int N, int G>() {});
}

void forward(const Task& task, void* out, float* lse)
{
    if (task.n_dst == 0)
        return;
    const auto stream = static_cast<cudaStream_t>(task.stream);
    with_sizes(task.real, int64_t(task.heads) * task.depth, task.depth, [&]<class T, int V, int N, int G>() {
        forward_kernel<T, V, N, G><<<blocks_for(task.n_dst), kThreads, 0, stream>>>(task, static_cast<T*>(out), lse);
    });
    check("edge_attention", "forward");
}

void backward(const Task& task, const Backward& b)
{
    const auto stream = static_cast<cudaStream_t>(task.stream);
    with_sizes(task.real, int64_t(task.heads) * task.depth, task.depth, [&]<class T, int V, int N, int G>() {
        if (task.n_dst > 0)
            destinations_kernel<T, V, N, G><<<blocks_for(task.n_dst), kThreads, 0, stream>>>(task, b);
        if (task.n_src > 0)
            sources_kernel<T, V, N, G><<<blocks_for(task.n_src), kThreads, 0, stream>>>(task, b);
    });
    check("edge_attention", "backward");
}

} // namespace gradwind::ops::edge_attention_cuda
