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

/// 2^x; results below the smallest normal number are zero.
__device__ inline float power_of_two(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

constexpr float kLog2E = 1.44269504088896341F;

/// An edge of a row, and the row at its other end.
struct Step {
    int edge, other;
};

/// Edges that a warp reads together.
constexpr int kBatch = 2;

/// What a warp works on: 32 V columns of one row, V in each lane and a head in every G lanes. Narrow parts of rows let
/// many warps live on a processor of the GPU, which hides how far away the rows of the edges are.
template <class T, int V, int G>
struct Part {
    static_assert(sizeof(T) * V == sizeof(uint4));
    /// Of the features of an edge, or of sums of them for a head: those of a lane.
    static constexpr int own = kMostFeatures / G;

    const Task& task;
    int pitch;       ///< columns of a row
    int row;         ///< destination, or source
    int column;      ///< of this lane's first number
    int head;        ///< that it belongs to
    int lane, place; ///< place: in the head
    bool inside;     ///< lanes beyond the end of a row do as the last one does, and write nothing

    __device__ explicit Part(const Task& task)
        : task(task), pitch(task.heads * task.depth), row(int(blockIdx.x * kWarps + (threadIdx.x >> 5))),
          column(int(blockIdx.y * 32 + (threadIdx.x & 31)) * V), lane(int(threadIdx.x & 31)), place(lane % G),
          inside(column < pitch)
    {
        column = inside ? column : pitch - V;
        head = column / task.depth;
    }

    __device__ bool leads() const { return place == 0 && inside; }
    /// Of a number for every edge, or row, and head.
    __device__ int64_t at_head(int i) const { return int64_t(i) * task.heads + head; }

    __device__ uint4 read(const void* rows, int stride, int i) const
    {
        return *reinterpret_cast<const uint4*>(static_cast<const T*>(rows) + int64_t(i) * stride + column);
    }
    __device__ uint4 read(const Rows& rows, int i) const { return read(rows.data, int(rows.stride), i); }
    __device__ void write(void* rows, const float (&x)[V]) const
    {
        if (inside)
            *reinterpret_cast<uint4*>(static_cast<T*>(rows) + int64_t(row) * pitch + column) = pack(x);
    }
    /// x += a bias
    __device__ void add_bias(float a, float (&x)[V]) const
    {
        float bias[V];
        load_parameters(task.bias + column, bias);
        accumulate(x, a, bias);
    }

    /// weight^T x, head by head: what the features are multiplied by.
    __device__ void to_features(const float (&x)[V], float (&u)[own]) const
    {
        const T* row = static_cast<const T*>(task.weight) + column;
#pragma unroll
        for (int i = 0; i < kMostFeatures; ++i, row += pitch) {
            float sum = 0;
            if (i < task.features) {
                float w[V];
                unpack(*reinterpret_cast<const uint4*>(row), w);
                sum = head_sum<G>(dot(x, w));
            }
            if (i / own == place)
                u[i % own] = sum;
        }
    }

    /// x += weight u, head by head.
    __device__ void add_from_features(const float (&u)[own], float (&x)[V]) const
    {
        const T* row = static_cast<const T*>(task.weight) + column;
#pragma unroll
        for (int i = 0; i < kMostFeatures; ++i, row += pitch) {
            if (i >= task.features)
                break;
            const float value = __shfl_sync(kAllLanes, u[i % own], lane - place + i / own);
            float w[V];
            unpack(*reinterpret_cast<const uint4*>(row), w);
            accumulate(x, value, w);
        }
    }

    /// The features of an edge that this lane multiplies.
    __device__ void load_features(int edge, float (&f)[own]) const
    {
        const auto pack =
            *reinterpret_cast<const Pack<float, own>*>(task.f + int64_t(edge) * kMostFeatures + place * own);
#pragma unroll
        for (int n = 0; n < own; ++n)
            f[n] = pack.values[n];
    }

    __device__ void write_features(void* to, const float (&u)[own]) const
    {
        if (!inside)
            return;
        Pack<T, own> pack;
#pragma unroll
        for (int n = 0; n < own; ++n)
            store(pack.values[n], u[n]);
        *reinterpret_cast<Pack<T, own>*>(static_cast<T*>(to) + at_head(row) * kMostFeatures + place * own) = pack;
    }

    /// Sums over the heads of a warp: every exchange halves what a lane still holds, so that in the end it has the sum
    /// of one feature in sums[0]. @return that feature
    __device__ int sum_over_heads(float (&sums)[own]) const
    {
        int n = own, feature = place * own;
#pragma unroll
        for (int offset = 16; offset >= G; offset /= 2) {
            if (n == 1) {
                sums[0] += __shfl_xor_sync(kAllLanes, sums[0], offset);
                continue;
            }
            n /= 2;
            const bool upper = (lane & offset) != 0;
#pragma unroll
            for (int k = 0; k < own / 2; ++k) {
                if (k >= n)
                    break;
                const float given = upper ? sums[k] : sums[k + n], kept = upper ? sums[k + n] : sums[k];
                sums[k] = kept + __shfl_xor_sync(kAllLanes, given, offset);
            }
            feature += upper ? n : 0;
        }
        return feature;
    }
    /// Two lanes end up with the same sum.
    __device__ bool writes_sum() const
    {
        return (lane & G) == 0;
    }

    /// Goes through entries [begin, end) of a list of edges: `find(n)` tells an entry, `fetch(step)` reads what it
    /// needs, `use(steps, fetched, count)` works with some at a time, of which the first `count` are meant. The lanes
    /// find 32 entries at once.
    template <class Find, class Fetch, class Use>
    __device__ void walk(int64_t begin, int64_t end, const Find& find, const Fetch& fetch, const Use& use) const
    {
        for (int64_t first = begin; first < end; first += 32) {
            const int count = end - first < 32 ? int(end - first) : 32;
            const Step mine = lane < count ? find(first + lane) : Step{0, 0};
            for (int n = 0; n < count; n += kBatch) {
                Step steps[kBatch];
                decltype(fetch(mine)) fetched[kBatch];
#pragma unroll
                for (int b = 0; b < kBatch; ++b) {
                    const int from = n + b < count ? n + b : count - 1;
                    steps[b] = {__shfl_sync(kAllLanes, mine.edge, from), __shfl_sync(kAllLanes, mine.other, from)};
                    fetched[b] = fetch(steps[b]);
                }
                use(steps, fetched, count - n);
            }
        }
    }
};

/// What an edge brings to its destination.
template <int Own>
struct EdgeRows {
    uint4 key, value;
    float f[Own];
};

template <class T, int V, int G, class Use>
__device__ void for_edges_of(const Part<T, V, G>& part, const Use& use)
{
    const Task& task = part.task;
    part.walk(
        task.dst_ptr[part.row], task.dst_ptr[part.row + 1],
        [&](int64_t e) {
            return Step{int(e), int(task.src[e])};
        },
        [&](const Step& step) {
            EdgeRows<Part<T, V, G>::own> rows;
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
    // Scores are powers of two: the scale and the change of base go with the query.
    float q[V], u[own], sum[V] = {}, features[own] = {}, total = 0, largest = -INFINITY;
    unpack(part.read(task.q, part.row), q);
    multiply(q, task.scale * kLog2E);
    part.to_features(q, u);
    for_edges_of(part, [&](const Step(&)[kBatch], const EdgeRows<own>(&rows)[kBatch], int count) {
        float scores[kBatch], next = largest;
#pragma unroll
        for (int b = 0; b < kBatch; ++b) {
            float key[V];
            unpack(rows[b].key, key);
            scores[b] = head_sum<G>(dot(q, key) + dot(u, rows[b].f));
            if (b >= count)
                scores[b] = -INFINITY;
            next = fmaxf(next, scores[b]);
        }
        const float shrink = power_of_two(largest - next);
        largest = next;
        total *= shrink;
        multiply(sum, shrink);
        multiply(features, shrink);
#pragma unroll
        for (int b = 0; b < kBatch; ++b) {
            const float share = power_of_two(scores[b] - next);
            float value[V];
            unpack(rows[b].value, value);
            total += share;
            accumulate(sum, share, value);
            accumulate(features, share, rows[b].f);
        }
    });
    if (total != 0) {
        multiply(sum, 1.0F / total);
        multiply(features, 1.0F / total);
        part.add_bias(1.0F, sum);
        part.add_from_features(features, sum);
    }
    part.write(out, sum);
    if (part.leads())
        lse[part.at_head(part.row)] = total != 0 ? largest * (1 / kLog2E) + __logf(total) : 0.0F;
}

template <class T, int V, int G>
__global__ void destinations_kernel(Task task, Backward b)
{
    const Part<T, V, G> part(task);
    if (part.row >= task.n_dst)
        return;
    constexpr int own = Part<T, V, G>::own;
    float q[V], grad[V], u[own], t[own], grad_q[V] = {}, of_values[own] = {}, of_scores[own] = {};
    unpack(part.read(task.q, part.row), q);
    multiply(q, task.scale * kLog2E);
    unpack(part.read(b.grad_out, part.pitch, part.row), grad);
    part.to_features(q, u);
    part.to_features(grad, t);
    // The mean of the shares' gradients, without what the bias adds to every one of them.
    float out[V];
    unpack(part.read(b.out, part.pitch, part.row), out);
    part.add_bias(-1.0F, out);
    const float expected = head_sum<G>(dot(grad, out));
    const float lse = b.lse[part.at_head(part.row)] * kLog2E;
    for_edges_of(part, [&](const Step(&steps)[kBatch], const EdgeRows<own>(&rows)[kBatch], int count) {
#pragma unroll
        for (int n = 0; n < kBatch; ++n) {
            float key[V], value[V];
            unpack(rows[n].key, key);
            unpack(rows[n].value, value);
            const float score = head_sum<G>(dot(q, key) + dot(u, rows[n].f));
            const float slope_of_share = head_sum<G>(dot(grad, value) + dot(t, rows[n].f));
            const float share = n < count ? power_of_two(score - lse) : 0.0F;
            const float slope = share * (slope_of_share - expected); // of the score without its scale
            accumulate(grad_q, slope, key);
            accumulate(of_values, share, rows[n].f);
            accumulate(of_scores, slope, rows[n].f);
            if (n >= count)
                break;
            if (part.leads())
                b.shares[part.at_head(steps[n].edge)] = {share, slope * task.scale};
            if (!b.grad_f)
                continue;
            float grad_f[own];
#pragma unroll
            for (int k = 0; k < own; ++k)
                grad_f[k] = part.inside ? slope * (1 / kLog2E) * u[k] + share * t[k] : 0.0F; // u has the scale
            const int feature = part.sum_over_heads(grad_f);
            if (part.writes_sum())
                b.grad_f[(blockIdx.y * task.n_edges + steps[n].edge) * kMostFeatures + feature] = grad_f[0];
        }
    });
    multiply(grad_q, task.scale);
    multiply(of_scores, task.scale);
    part.add_from_features(of_scores, grad_q);
    part.write(b.grad_q, grad_q);
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
        uint4 q, grad;
        Share share;
    };
    float grad_k[V] = {}, grad_v[V] = {};
    part.walk(
        task.src_ptr[part.row], task.src_ptr[part.row + 1],
        [&](int64_t n) {
            const int edge = int(task.by_src[n]);
            return Step{edge, int(task.dst[edge])};
        },
        [&](const Step& step) {
            return Fetched{part.read(task.q, step.other), part.read(b.grad_out, part.pitch, step.other),
                           b.shares[part.at_head(step.edge)]};
        },
        [&](const Step(&)[kBatch], const Fetched(&fetched)[kBatch], int count) {
#pragma unroll
            for (int n = 0; n < kBatch; ++n) {
                float q[V], grad[V];
                unpack(fetched[n].q, q);
                unpack(fetched[n].grad, grad);
                accumulate(grad_k, n < count ? fetched[n].share.slope : 0.0F, q);
                accumulate(grad_v, n < count ? fetched[n].share.value : 0.0F, grad);
            }
        });
    part.write(b.grad_k, grad_k);
    part.write(b.grad_v, grad_v);
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

dim3 grid_for(const Task& task, int64_t rows)
{
    return {blocks_for(rows), unsigned(count_parts(task))};
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
        forward_kernel<T, V, G><<<grid_for(task, task.n_dst), kThreads, 0, stream>>>(task, out, lse);
    });
    check("edge_attention", "forward");
}

void backward(const Task& task, const Backward& b)
{
    const auto stream = static_cast<cudaStream_t>(task.stream);
    with_sizes(task.real, task.depth, [&]<class T, int V, int G>() {
        if (task.n_dst > 0)
            destinations_kernel<T, V, G><<<grid_for(task, task.n_dst), kThreads, 0, stream>>>(task, b);
        if (task.n_src > 0)
            sources_kernel<T, V, G><<<grid_for(task, task.n_src), kThreads, 0, stream>>>(task, b);
    });
    check("edge_attention", "backward");
}

} // namespace gradwind::ops::edge_attention_cuda
