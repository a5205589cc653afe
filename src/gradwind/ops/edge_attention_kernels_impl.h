// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Included by one source for each instruction set, which defines GRADWIND_KERNEL_SET (a name) and kVectorBytes.
#include "gradwind/ops/edge_attention_kernels.h"
#include "gradwind/ops/kernel_math_impl.h"

namespace gradwind::ops::edge_attention_kernels
{

namespace
{

/// Columns of a gradient of edge features that are summed in registers.
constexpr int64_t kFeatureColumns = 16;

/// One block of heads: L of them, lane by lane.
template <class T, int L>
struct Block {
    using V = typename kernel_math::VectorOf<T, L>::Type;
    static V& at(T* data, int64_t i) { return *(V*)(data + i * L); }
    static const V& at(const T* data, int64_t i) { return *(const V*)(data + i * L); }

    static int64_t count(int64_t heads) { return (heads + L - 1) / L; }
    static int64_t width(int64_t heads, int64_t block) { return heads - block * L < L ? heads - block * L : L; }

    /// Row `from` of all heads to the packed block `block`.
    static void load(const Task<T>& task, const T* from, int64_t block, T factor, T* to)
    {
        const auto n = width(task.heads, block);
        from += block * L * task.depth;
        for (int64_t c = 0; c < task.depth; ++c) {
            for (int64_t h = 0; h < n; ++h)
                to[c * L + h] = factor * from[h * task.depth + c];
            for (int64_t h = n; h < L; ++h)
                to[c * L + h] = 0;
        }
    }

    static void store(const Task<T>& task, const T* from, int64_t block, T factor, T* to)
    {
        const auto n = width(task.heads, block);
        to += block * L * task.depth;
        for (int64_t h = 0; h < n; ++h)
            for (int64_t c = 0; c < task.depth; ++c)
                to[h * task.depth + c] = factor * from[c * L + h];
    }

    /// out[f] = sum over c of weight[c][f] x[c]: a row of heads seen by the edge features.
    static void to_features(const Task<T>& task, const T* weight, const T* x, T* out)
    {
        for (int64_t f = 0; f < task.features; ++f)
            at(out, f) = V{};
        for (int64_t c = 0; c < task.depth; ++c) {
            const V value = at(x, c);
            for (int64_t f = 0; f < task.features; ++f)
                at(out, f) += at(weight, c * task.features + f) * value;
        }
    }

    /// out[c] += sum over f of weight[c][f] g[f].
    static void add_from_features(const Task<T>& task, const T* weight, const T* g, T* out)
    {
        for (int64_t c = 0; c < task.depth; ++c) {
            V sum = at(out, c);
            for (int64_t f = 0; f < task.features; ++f)
                sum += at(weight, c * task.features + f) * at(g, f);
            at(out, c) = sum;
        }
    }

    /// out = x . row + u . features, for all lanes.
    static void product(const Task<T>& task, const T* x, const T* row, const T* u, const T* features, T* out)
    {
        V first = V{}, second = V{};
        int64_t c = 0;
        for (; c + 2 <= task.depth; c += 2) {
            first += at(x, c) * at(row, c);
            second += at(x, c + 1) * at(row, c + 1);
        }
        if (c < task.depth)
            first += at(x, c) * at(row, c);
        int64_t f = 0;
        for (; f + 2 <= task.features; f += 2) {
            first += at(u, f) * features[f];
            second += at(u, f + 1) * features[f + 1];
        }
        if (f < task.features)
            first += at(u, f) * features[f];
        at(out, 0) = first + second;
    }

    /// out[c] = sum over i < n of weight_of(i) * row_of(i)[c], in ascending order of i.
    template <class WeightOf, class RowOf>
    static void weighted_sum(int64_t n, const WeightOf& weight_of, const RowOf& row_of, int64_t depth, T* out)
    {
        int64_t c = 0;
        for (; c + 4 <= depth; c += 4) {
            V a = V{}, b = V{}, d = V{}, e = V{};
            for (int64_t i = 0; i < n; ++i) {
                const V weight = at(weight_of(i), 0);
                const T* row = row_of(i) + c * L;
                a += weight * at(row, 0);
                b += weight * at(row, 1);
                d += weight * at(row, 2);
                e += weight * at(row, 3);
            }
            at(out, c) = a;
            at(out, c + 1) = b;
            at(out, c + 2) = d;
            at(out, c + 3) = e;
        }
        for (; c < depth; ++c) {
            V a = V{};
            for (int64_t i = 0; i < n; ++i)
                a += at(weight_of(i), 0) * at(row_of(i), c);
            at(out, c) = a;
        }
    }

    /// The same of edge features, whose values are one for all heads.
    template <class WeightOf>
    static void weighted_features(const Task<T>& task, int64_t begin, int64_t end, const WeightOf& weight_of, T* out)
    {
        const auto n = task.features;
        int64_t f = 0;
        for (; f + 4 <= n; f += 4) {
            V a = V{}, b = V{}, d = V{}, g = V{};
            for (int64_t e = begin; e < end; ++e) {
                const V weight = at(weight_of(e), 0);
                const T* row = task.f + e * n + f;
                a += weight * row[0];
                b += weight * row[1];
                d += weight * row[2];
                g += weight * row[3];
            }
            at(out, f) = a;
            at(out, f + 1) = b;
            at(out, f + 2) = d;
            at(out, f + 3) = g;
        }
        for (; f < n; ++f) {
            V a = V{};
            for (int64_t e = begin; e < end; ++e)
                a += at(weight_of(e), 0) * task.f[e * n + f];
            at(out, f) = a;
        }
    }

    /// x = e^(x - largest) for n vectors.
    static void exponentials(T* x, const T* largest, int64_t n)
    {
        for (int64_t i = 0; i < n; ++i)
#pragma omp simd
            for (int l = 0; l < L; ++l)
                x[i * L + l] = kernel_math::exponential(x[i * L + l] - largest[l]);
    }
};

template <class T, int L>
void pack(const Task<T>& task, Rows<const T> rows, int64_t first, int64_t last, T* out)
{
    const auto blocks = Block<T, L>::count(task.heads);
    for (int64_t i = first; i < last; ++i)
        for (int64_t b = 0; b < blocks; ++b)
            Block<T, L>::load(task, rows.data + i * rows.stride, b, T(1), out + (i * blocks + b) * task.depth * L);
}

template <class T, int L>
void forward(const Task<T>& task, int64_t first, int64_t last, T* scratch)
{
    using B = Block<T, L>;
    using V = typename B::V;
    const auto depth = task.depth, blocks = B::count(task.heads), width = task.heads * depth;
    T* q = scratch;
    T* sum = q + depth * L;
    T* u = sum + depth * L;
    T* g = u + task.features * L;
    T* shares = g + task.features * L;
    for (int64_t i = first; i < last; ++i) {
        const auto begin = task.dst_ptr[i], end = task.dst_ptr[i + 1];
        T* out = task.out + i * width;
        T* moments = task.moments + i * blocks * 2 * L;
        if (begin == end) {
            for (int64_t c = 0; c < width; ++c)
                out[c] = 0;
            for (int64_t c = 0; c < blocks * 2 * L; ++c)
                moments[c] = 0;
            continue;
        }
        for (int64_t b = 0; b < blocks; ++b, moments += 2 * L) {
            const T* weight = task.weight + b * depth * task.features * L;
            const auto row_of = [&](const T* rows, int64_t e) { return rows + (task.src[e] * blocks + b) * depth * L; };
            const auto share_of = [&](int64_t e) { return shares + (e - begin) * L; };
            B::load(task, task.q.data + i * task.q.stride, b, task.scale, q);
            B::to_features(task, weight, q, u);
            for (int64_t e = begin; e < end; ++e)
                B::product(task, q, row_of(task.k, e), u, task.f + e * task.features, shares + (e - begin) * L);
            V largest = B::at(shares, 0);
            for (int64_t e = 1; e < end - begin; ++e) {
                const V score = B::at(shares, e);
                largest = score > largest ? score : largest;
            }
            B::at(moments, 0) = largest;
            B::exponentials(shares, moments, end - begin);
            V total = V{};
            for (int64_t e = 0; e < end - begin; ++e)
                total += B::at(shares, e);
            const V inverse = T(1) / total;
            B::at(moments, 1) = inverse;
            for (int64_t e = 0; e < end - begin; ++e)
                B::at(shares, e) *= inverse;
            B::weighted_sum(
                end - begin, [&](int64_t e) { return shares + e * L; },
                [&](int64_t e) { return row_of(task.v, begin + e); }, depth, sum);
            B::weighted_features(task, begin, end, share_of, g);
            for (int64_t c = 0; c < depth; ++c)
                B::at(sum, c) += B::at(task.bias + b * depth * L, c);
            B::add_from_features(task, weight, g, sum);
            B::store(task, sum, b, T(1), out);
        }
    }
}

/// Adds a block's part of the gradients of the features of edges [begin, end).
template <class T, int L>
void add_feature_gradients(const Task<T>& task, int64_t begin, int64_t end, int64_t block, const T* u, const T* g,
                           T* scratch)
{
    using B = Block<T, L>;
    const auto n = task.features, blocks = B::count(task.heads), heads = B::width(task.heads, block);
    const auto stride = (n + kFeatureColumns - 1) / kFeatureColumns * kFeatureColumns;
    // Head by head, so that the features are side by side.
    T* u_rows = scratch;
    T* g_rows = scratch + L * stride;
    for (int64_t h = 0; h < heads; ++h)
        for (int64_t f = 0; f < stride; ++f) {
            u_rows[h * stride + f] = f < n ? u[f * L + h] : T(0);
            g_rows[h * stride + f] = f < n ? g[f * L + h] : T(0);
        }
    for (int64_t e = begin; e < end; ++e) {
        const T* share = task.shares + (e * blocks + block) * L;
        const T* slope = task.slopes + (e * blocks + block) * L;
        T* out = task.grad_f + e * n;
        for (int64_t from = 0; from < n; from += kFeatureColumns) {
            T sum[kFeatureColumns] = {};
            for (int64_t h = 0; h < heads; ++h)
#pragma omp simd
                for (int64_t f = 0; f < kFeatureColumns; ++f)
                    sum[f] += share[h] * g_rows[h * stride + from + f] + slope[h] * u_rows[h * stride + from + f];
            const auto last = n - from < kFeatureColumns ? n - from : kFeatureColumns;
            for (int64_t f = 0; f < last; ++f)
                out[from + f] = block == 0 ? sum[f] : out[from + f] + sum[f];
        }
    }
}

/// Shares and slopes of the edges [begin, end) of destination i.
template <class T, int L>
void differentiate_scores(const Task<T>& task, int64_t i, int64_t block, const T* q, const T* grad, const T* u,
                          const T* grad_u)
{
    using B = Block<T, L>;
    using V = typename B::V;
    const auto blocks = B::count(task.heads), n = task.features;
    const auto begin = task.dst_ptr[i], end = task.dst_ptr[i + 1];
    const T* moments = task.moments + (i * blocks + block) * 2 * L;
    const V inverse = B::at(moments, 1);
    V mean = V{};
    for (int64_t e = begin; e < end; ++e) {
        const auto at_source = (task.src[e] * blocks + block) * task.depth * L;
        T* share = task.shares + (e * blocks + block) * L;
        T* slope = task.slopes + (e * blocks + block) * L;
        B::product(task, q, task.k + at_source, u, task.f + e * n, share);
        B::exponentials(share, moments, 1);
        B::at(share, 0) *= inverse;
        B::product(task, grad, task.v + at_source, grad_u, task.f + e * n, slope);
        mean += B::at(share, 0) * B::at(slope, 0);
    }
    for (int64_t e = begin; e < end; ++e) {
        T* slope = task.slopes + (e * blocks + block) * L;
        B::at(slope, 0) = B::at(task.shares + (e * blocks + block) * L, 0) * (B::at(slope, 0) - mean);
    }
}

template <class T, int L>
void backward_destinations(const Task<T>& task, int64_t first, int64_t last, T* scratch, const Sums<T>& sums)
{
    using B = Block<T, L>;
    using V = typename B::V;
    const auto depth = task.depth, n = task.features, blocks = B::count(task.heads), width = task.heads * depth;
    T* grad_q = scratch;
    T* u = grad_q + depth * L;
    T* grad_u = u + n * L;     // of the result, seen by the features
    T* sum_u = grad_u + n * L; // features weighted by slopes
    T* sum_f = sum_u + n * L;  // features weighted by shares
    T* others = sum_f + n * L;
    for (int64_t i = first; i < last; ++i) {
        const auto begin = task.dst_ptr[i], end = task.dst_ptr[i + 1];
        T* out = task.grad_q + i * width;
        if (begin == end) {
            for (int64_t c = 0; c < width; ++c)
                out[c] = 0;
            continue;
        }
        for (int64_t b = 0; b < blocks; ++b) {
            const T* weight = task.weight + b * depth * n * L;
            T* q = task.packed_q + (i * blocks + b) * depth * L;
            T* grad = task.packed_out + (i * blocks + b) * depth * L;
            B::load(task, task.q.data + i * task.q.stride, b, task.scale, q);
            B::load(task, task.grad_out.data + i * task.grad_out.stride, b, T(1), grad);
            B::to_features(task, weight, q, u);
            B::to_features(task, weight, grad, grad_u);
            differentiate_scores<T, L>(task, i, b, q, grad, u, grad_u);
            const auto share_of = [&](int64_t e) { return task.shares + (e * blocks + b) * L; };
            const auto slope_of = [&](int64_t e) { return task.slopes + (e * blocks + b) * L; };
            B::weighted_sum(
                end - begin, [&](int64_t e) { return slope_of(begin + e); },
                [&](int64_t e) { return task.k + (task.src[begin + e] * blocks + b) * depth * L; }, depth, grad_q);
            B::weighted_features(task, begin, end, slope_of, sum_u);
            B::weighted_features(task, begin, end, share_of, sum_f);
            B::add_from_features(task, weight, sum_u, grad_q);
            B::store(task, grad_q, b, task.scale, out);
            for (int64_t c = 0; c < depth; ++c) {
                T* to = sums.weight + (b * depth + c) * n * L;
                const V at_q = B::at(q, c), at_out = B::at(grad, c);
                for (int64_t f = 0; f < n; ++f)
                    B::at(to, f) += at_q * B::at(sum_u, f) + at_out * B::at(sum_f, f);
                B::at(sums.bias + b * depth * L, c) += at_out;
            }
            if (task.grad_f)
                add_feature_gradients<T, L>(task, begin, end, b, u, grad_u, others);
        }
    }
}

template <class T, int L>
void backward_sources(const Task<T>& task, int64_t first, int64_t last, T* scratch)
{
    using B = Block<T, L>;
    const auto depth = task.depth, blocks = B::count(task.heads), width = task.heads * depth;
    for (int64_t j = first; j < last; ++j) {
        const int64_t* edges = task.by_src + task.src_ptr[j];
        const auto count = task.src_ptr[j + 1] - task.src_ptr[j];
        for (int64_t b = 0; b < blocks; ++b) {
            const auto of = [&](const T* weights) {
                return [=, &task](int64_t i) { return weights + (edges[i] * blocks + b) * L; };
            };
            const auto at_destination = [&](const T* rows) {
                return [=, &task](int64_t i) { return rows + (task.dst[edges[i]] * blocks + b) * depth * L; };
            };
            B::weighted_sum(count, of(task.slopes), at_destination(task.packed_q), depth, scratch);
            B::store(task, scratch, b, T(1), task.grad_k + j * width);
            B::weighted_sum(count, of(task.shares), at_destination(task.packed_out), depth, scratch);
            B::store(task, scratch, b, T(1), task.grad_v + j * width);
        }
    }
}

template <class T, int L>
constexpr Kernels<T> kTable = {L, pack<T, L>, forward<T, L>, backward_destinations<T, L>, backward_sources<T, L>};

/// The narrowest vectors that need the fewest blocks.
template <class T>
const Kernels<T>& choose(int64_t heads)
{
    constexpr int lanes = kVectorBytes / sizeof(T);
    if constexpr (lanes >= 16)
        if (heads > 8)
            return kTable<T, 16>;
    if constexpr (lanes >= 8)
        if (heads > 4)
            return kTable<T, 8>;
    if constexpr (lanes >= 4)
        if (heads > 2)
            return kTable<T, 4>;
    return kTable<T, 2>;
}

} // namespace

namespace GRADWIND_KERNEL_SET
{

const Kernels<float>& of(int64_t heads, float)
{
    return choose<float>(heads);
}
const Kernels<double>& of(int64_t heads, double)
{
    return choose<double>(heads);
}

} // namespace GRADWIND_KERNEL_SET

} // namespace gradwind::ops::edge_attention_kernels
