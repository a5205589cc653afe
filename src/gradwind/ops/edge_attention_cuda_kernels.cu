// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/ops/cuda_rows.cuh"
#include "gradwind/ops/edge_attention_cuda_kernels.h"

#include <algorithm>

namespace gradwind::ops::edge_attention_cuda
{

namespace
{

using namespace cuda_rows;

constexpr unsigned kAllLanes = 0xffffffffU;

/// Sum over the G lanes that share a head; all of them get it.
template <int G>
__device__ float head_sum(float x)
{
#pragma unroll
    for (int offset = G / 2; offset > 0; offset /= 2)
        x += __shfl_xor_sync(kAllLanes, x, offset);
    return x;
}

template <int N>
__device__ float dot(const float (&a)[N], const float (&b)[N])
{
    float sum = 0;
#pragma unroll
    for (int n = 0; n < N; ++n)
        sum += a[n] * b[n];
    return sum;
}

template <int N>
__device__ void multiply(float (&x)[N], float a)
{
#pragma unroll
    for (int n = 0; n < N; ++n)
        x[n] *= a;
}

/// x += b y
template <int N>
__device__ void accumulate(float (&x)[N], float b, const float (&y)[N])
{
#pragma unroll
    for (int n = 0; n < N; ++n)
        x[n] += b * y[n];
}

/// An edge of a row, and the row at its other end.
struct Step {
    int64_t edge, other;
};

/// What a warp works on: 32 V columns of one row, V in each lane and a head in every G lanes. Narrow parts of rows let
/// many warps live on a processor of the GPU, which hides how far away the rows of the edges are.
template <class T, int V, int G>
struct Part {
    /// Of the features of an edge, or of sums of them for a head: those of a lane.
    static constexpr int own = kMostFeatures / G;
    static constexpr int columns = 32 * V;

    const Task& task;
    int64_t pitch;   ///< columns of a row
    int64_t row;     ///< destination, or source
    int64_t part;    ///< of the row
    int64_t column;  ///< of this lane's first number
    int lane, place; ///< place: in the head

    __device__ explicit Part(const Task& task)
        : task(task), pitch(int64_t(task.heads) * task.depth), lane(int(threadIdx.x & 31)), place(lane % G)
    {
        const int64_t warp = int64_t(blockIdx.x) * kWarps + (threadIdx.x >> 5), parts = (pitch + columns - 1) / columns;
        row = warp / parts;
        part = warp % parts;
        column = part * columns + lane * V;
    }

    __device__ bool has() const { return column < pitch; }
    __device__ bool leads() const { return place == 0 && has(); }
    __device__ int head() const { return int(column) / task.depth; }

    __device__ Pack<T, V> read(const void* rows, int64_t stride, int64_t i) const
    {
        return has() ? *reinterpret_cast<const Pack<T, V>*>(static_cast<const T*>(rows) + i * stride + column)
                     : Pack<T, V>{};
    }
    __device__ Pack<T, V> read(const Rows& rows, int64_t i) const { return read(rows.data, rows.stride, i); }
    __device__ void load(const Pack<T, V>& pack, float (&x)[V]) const
    {
#pragma unroll
        for (int v = 0; v < V; ++v)
            x[v] = to_float(pack.values[v]);
    }
    __device__ void write(void* rows, int64_t i, const float (&x)[V]) const
    {
        if (!has())
            return;
        Pack<T, V> pack;
#pragma unroll
        for (int v = 0; v < V; ++v)
            store(pack.values[v], x[v]);
        *reinterpret_cast<Pack<T, V>*>(static_cast<T*>(rows) + i * pitch + column) = pack;
    }
    /// x += a bias
    __device__ void add_bias(float a, float (&x)[V]) const
    {
        if (!has())
            return;
        float bias[V];
        load_parameters(task.bias + column, bias);
        accumulate(x, a, bias);
    }

    /// weight^T x, head by head: what the features are multiplied by.
    __device__ void to_features(const float (&x)[V], float (&u)[own]) const
    {
#pragma unroll
        for (int i = 0; i < kMostFeatures; ++i) {
            float sum = 0;
            if (i < task.features) {
                float w[V];
                load(read(task.weight, pitch, i), w);
                sum = head_sum<G>(dot(x, w));
            }
            if (i / own == place)
                u[i % own] = sum;
        }
    }

    /// x += weight u, head by head.
    __device__ void add_from_features(const float (&u)[own], float (&x)[V]) const
    {
#pragma unroll
        for (int i = 0; i < kMostFeatures; ++i) {
            if (i >= task.features)
                break;
            const float value = __shfl_sync(kAllLanes, u[i % own], lane - place + i / own);
            float w[V];
            load(read(task.weight, pitch, i), w);
            accumulate(x, value, w);
        }
    }

    /// The features of an edge that this lane multiplies.
    __device__ void load_features(int64_t edge, float (&f)[own]) const
    {
        const auto pack = *reinterpret_cast<const Pack<float, own>*>(task.f + edge * kMostFeatures + place * own);
#pragma unroll
        for (int n = 0; n < own; ++n)
            f[n] = pack.values[n];
    }

    __device__ void write_features(void* to, const float (&u)[own]) const
    {
        if (!has())
            return;
        Pack<T, own> pack;
#pragma unroll
        for (int n = 0; n < own; ++n)
            store(pack.values[n], u[n]);
        *reinterpret_cast<Pack<T, own>*>(static_cast<T*>(to) + (row * task.heads + head()) * kMostFeatures +
                                         place * own) = pack;
    }

    /// Goes through entries [begin, end) of a list of edges: `step(n)` finds an entry, `fetch(step)` reads what it
    /// needs, `use(step, fetched)` works with it. The lanes find 32 entries at once, and each is fetched while the one
    /// before it is used.
    template <class Find, class Fetch, class Use>
    __device__ void walk(int64_t begin, int64_t end, const Find& find, const Fetch& fetch, const Use& use) const
    {
        for (int64_t first = begin; first < end; first += 32) {
            const int count = end - first < 32 ? int(end - first) : 32;
            const Step mine = lane < count ? find(first + lane) : Step{0, 0};
            const auto at = [&](int n) {
                return Step{__shfl_sync(kAllLanes, mine.edge, n), __shfl_sync(kAllLanes, mine.other, n)};
            };
            Step next = at(0);
            auto ahead = fetch(next);
            for (int n = 0; n < count; ++n) {
                const Step step = next;
                const auto fetched = ahead;
                if (n + 1 < count) {
                    next = at(n + 1);
                    ahead = fetch(next);
                }
                use(step, fetched);
            }
        }
    }
};

/// What an edge brings to its destination.
template <class T, int V, int Own>
struct EdgeRows {
    Pack<T, V> key, value;
    float f[Own];
};

template <class T, int V, int G, class Use>
__device__ void for_edges_of(const Part<T, V, G>& part, const Use& use)
{
    const Task& task = part.task;
    part.walk(
        task.dst_ptr[part.row], task.dst_ptr[part.row + 1],
        [&](int64_t e) {
            return Step{e, task.src[e]};
        },
        [&](const Step& step) {
            EdgeRows<T, V, Part<T, V, G>::own> rows;
            rows.key = part.read(task.k, step.other);
            rows.value = part.read(task.v, step.other);
            part.load_features(step.edge, rows.f);
            return rows;
        },
        use);
}

template <class T, int V, int G>
__global__ void forward_kernel(Task task, void* out, float* lse)
{
    const Part<T, V, G> part(task);
    if (part.row >= task.n_dst)
        return;
    constexpr int own = Part<T, V, G>::own;
    float q[V], u[own], sum[V] = {}, features[own] = {}, total = 0, largest = -INFINITY;
    part.load(part.read(task.q, part.row), q);
    part.to_features(q, u);
    for_edges_of(part, [&](const Step&, const EdgeRows<T, V, own>& rows) {
        float key[V], value[V];
        part.load(rows.key, key);
        part.load(rows.value, value);
        const float score = task.scale * head_sum<G>(dot(q, key) + dot(u, rows.f));
        const float next = fmaxf(largest, score);
        const float shrink = __expf(largest - next), share = __expf(score - next);
        largest = next;
        total = total * shrink + share;
        multiply(sum, shrink);
        accumulate(sum, share, value);
        multiply(features, shrink);
        accumulate(features, share, rows.f);
    });
    if (total != 0) {
        multiply(sum, 1.0F / total);
        multiply(features, 1.0F / total);
        part.add_bias(1.0F, sum);
        part.add_from_features(features, sum);
    }
    part.write(out, part.row, sum);
    if (part.leads())
        lse[part.row * task.heads + part.head()] = total != 0 ? largest + __logf(total) : 0.0F;
}

template <class T, int V, int G>
__global__ void destinations_kernel(Task task, Backward b)
{
    const Part<T, V, G> part(task);
    if (part.row >= task.n_dst)
        return;
    constexpr int own = Part<T, V, G>::own;
    float q[V], grad[V], u[own], t[own], grad_q[V] = {}, of_values[own] = {}, of_scores[own] = {};
    part.load(part.read(task.q, part.row), q);
    part.load(part.read(b.grad_out, part.pitch, part.row), grad);
    part.to_features(q, u);
    part.to_features(grad, t);
    // The mean of the shares' gradients, without what the bias adds to every one of them.
    float out[V];
    part.load(part.read(b.out, part.pitch, part.row), out);
    part.add_bias(-1.0F, out);
    const float expected = head_sum<G>(dot(grad, out));
    const float lse = part.has() ? b.lse[part.row * task.heads + part.head()] : 0.0F;
    for_edges_of(part, [&](const Step& step, const EdgeRows<T, V, own>& rows) {
        float key[V], value[V], grad_f[own];
        part.load(rows.key, key);
        part.load(rows.value, value);
        const float score = task.scale * head_sum<G>(dot(q, key) + dot(u, rows.f));
        const float slope_of_share = head_sum<G>(dot(grad, value) + dot(t, rows.f));
        const float share = __expf(score - lse);
        const float slope = share * (slope_of_share - expected) * task.scale;
        if (part.leads()) {
            b.shares[step.edge * task.heads + part.head()] = share;
            b.slopes[step.edge * task.heads + part.head()] = slope;
        }
        accumulate(grad_q, slope, key);
        accumulate(of_values, share, rows.f);
        accumulate(of_scores, slope, rows.f);
        if (!b.grad_f)
            return;
        Pack<float, own> pack;
#pragma unroll
        for (int n = 0; n < own; ++n) {
            grad_f[n] = part.has() ? slope * u[n] + share * t[n] : 0.0F;
#pragma unroll
            for (int offset = G; offset < 32; offset *= 2)
                grad_f[n] += __shfl_xor_sync(kAllLanes, grad_f[n], offset);
            pack.values[n] = grad_f[n];
        }
        if (part.lane < G)
            *reinterpret_cast<Pack<float, own>*>(b.grad_f + (part.part * task.n_edges + step.edge) * kMostFeatures +
                                                 part.place * own) = pack;
    });
    part.add_from_features(of_scores, grad_q);
    part.write(b.grad_q, part.row, grad_q);
    part.write_features(b.features_of_values, of_values);
    part.write_features(b.features_of_scores, of_scores);
}

template <class T, int V, int G>
__global__ void sources_kernel(Task task, Backward b)
{
    const Part<T, V, G> part(task);
    if (part.row >= task.n_src)
        return;
    struct Fetched {
        Pack<T, V> q, grad;
        float share, slope;
    };
    float grad_k[V] = {}, grad_v[V] = {};
    part.walk(
        task.src_ptr[part.row], task.src_ptr[part.row + 1],
        [&](int64_t n) {
            const int64_t edge = task.by_src[n];
            return Step{edge, task.dst[edge]};
        },
        [&](const Step& step) {
            const int64_t at = step.edge * task.heads + part.head();
            return Fetched{part.read(task.q, step.other), part.read(b.grad_out, part.pitch, step.other),
                           part.has() ? b.shares[at] : 0.0F, part.has() ? b.slopes[at] : 0.0F};
        },
        [&](const Step&, const Fetched& fetched) {
            float q[V], grad[V];
            part.load(fetched.q, q);
            part.load(fetched.grad, grad);
            accumulate(grad_k, fetched.slope, q);
            accumulate(grad_v, fetched.share, grad);
        });
    part.write(b.grad_k, part.row, grad_k);
    part.write(b.grad_v, part.row, grad_v);
}

/// Calls `use` with the lanes of a head that fit; false where none is made for it.
template <class T, int V, class Use>
bool with_group(int64_t depth, const Use& use)
{
    switch (depth / V * (depth % V == 0)) {
    case 2:
        use.template operator()<T, V, 2>();
        return true;
    case 4:
        use.template operator()<T, V, 4>();
        return true;
    case 8:
        use.template operator()<T, V, 8>();
        return true;
    case 16:
        use.template operator()<T, V, 16>();
        return true;
    default:
        return false;
    }
}

template <class Use>
bool with_sizes(Real real, int64_t depth, const Use& use)
{
    return real == Real::BFloat16 ? with_group<__nv_bfloat16, 8>(depth, use) : with_group<float, 4>(depth, use);
}

struct Nothing {
    template <class, int, int>
    void operator()() const
    {
    }
};

} // namespace

bool takes(Real real, int64_t depth, int64_t features)
{
    return features <= kMostFeatures && with_sizes(real, depth, Nothing{});
}

int64_t count_parts(const Task& task)
{
    const int64_t columns = task.real == Real::BFloat16 ? 256 : 128;
    return (int64_t(task.heads) * task.depth + columns - 1) / columns;
}

void forward(const Task& task, void* out, float* lse)
{
    if (task.n_dst == 0)
        return;
    const auto stream = static_cast<cudaStream_t>(task.stream);
    with_sizes(task.real, task.depth, [&]<class T, int V, int G>() {
        forward_kernel<T, V, G><<<blocks_for(task.n_dst * count_parts(task)), kThreads, 0, stream>>>(task, out, lse);
    });
    check("edge_attention", "forward");
}

void backward(const Task& task, const Backward& b)
{
    const auto stream = static_cast<cudaStream_t>(task.stream);
    const auto parts = count_parts(task);
    with_sizes(task.real, task.depth, [&]<class T, int V, int G>() {
        if (task.n_dst > 0)
            destinations_kernel<T, V, G><<<blocks_for(task.n_dst * parts), kThreads, 0, stream>>>(task, b);
        if (task.n_src > 0)
            sources_kernel<T, V, G><<<blocks_for(task.n_src * parts), kThreads, 0, stream>>>(task, b);
    });
    check("edge_attention", "backward");
}

} // namespace gradwind::ops::edge_attention_cuda
