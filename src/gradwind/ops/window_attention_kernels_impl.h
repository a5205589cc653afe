// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Included by one source for each instruction set, which defines GRADWIND_KERNEL_SET (a name) and what
// vector_kernels_impl.h asks for.
#include "gradwind/ops/vector_kernels_impl.h"
#include "gradwind/ops/window_attention_kernels.h"

namespace gradwind::ops::window_attention_kernels
{

namespace
{

/// Half-open range.
struct Range {
    int64_t first = 0, last = 0;
};

inline Range clip(Range range, int64_t low, int64_t high)
{
    return {range.first > low ? range.first : low, range.last < high ? range.last : high};
}

/// Keys that a query sees.
template <class T>
inline Range keys_of(const Task<T>& task, int64_t query)
{
    if (task.window < 0)
        return {0, task.n_keys};
    const auto centre = task.query_position + query;
    return clip({centre - task.window, centre + task.window + 1}, 0, task.n_keys);
}

/// Blocks of keys that queries [first, last) see.
template <class T>
inline Range blocks_of(const Task<T>& task, int64_t first, int64_t last)
{
    const Range keys = {keys_of(task, first).first, keys_of(task, last - 1).last};
    if (keys.first >= keys.last)
        return {};
    return {keys.first / kBlock, (keys.last + kBlock - 1) / kBlock};
}

/// Rows of one head, side by side in blocks and transposed: [block][width][kBlock], zero beyond the last row.
template <class T>
void pack_transposed(const T* rows, int64_t row, int64_t n, int64_t width, T* to)
{
    for (int64_t begin = 0; begin < n; begin += kBlock) {
        const auto count = n - begin < kBlock ? n - begin : kBlock;
        for (int64_t c = 0; c < width; ++c) {
            T* line = to + begin * width + c * kBlock;
            for (int64_t j = 0; j < count; ++j)
                line[j] = rows[(begin + j) * row + c];
            for (int64_t j = count; j < kBlock; ++j)
                line[j] = 0;
        }
    }
}

/// Rows of one head times a factor, padded with zeros: [n][padded width].
template <class T>
void pack(const T* rows, int64_t row, int64_t n, int64_t width, T factor, T* to)
{
    const auto padded = padded_columns(width);
    for (int64_t i = 0; i < n; ++i) {
        const T* from = rows + i * row;
        T* line = to + i * padded;
#pragma omp simd
        for (int64_t c = 0; c < width; ++c)
            line[c] = factor * from[c];
        for (int64_t c = width; c < padded; ++c)
            line[c] = 0;
    }
}

/// Scores [keys.first, keys.last) of a row, given products; `distance` is the query's position less the block's.
template <class T>
inline void bend(const Task<T>& task, T* scores, Range keys, int64_t distance)
{
    if (task.softcap > 0)
        for (int64_t j = keys.first; j < keys.last; ++j)
            scores[j] = task.softcap * T(::tanh(scores[j] / task.softcap));
    if (task.slope > 0)
#pragma omp simd
        for (int64_t j = keys.first; j < keys.last; ++j)
            scores[j] -= task.slope * T(distance > j ? distance - j : j - distance);
}

template <class T>
inline void zero_outside(T* scores, Range keys)
{
    for (int64_t j = 0; j < keys.first; ++j)
        scores[j] = 0;
    for (int64_t j = keys.last; j < kBlock; ++j)
        scores[j] = 0;
}

/// A row's scores become weights under the running maximum, and the sums so far are brought to it.
template <class T>
inline void accumulate_row(T* scores, Range keys, T& maximum, T& sum, T* out, int64_t padded)
{
    T highest = scores[keys.first];
#pragma omp simd reduction(max : highest)
    for (int64_t j = keys.first; j < keys.last; ++j)
        highest = scores[j] > highest ? scores[j] : highest;
    if (highest > maximum || sum == 0) {
        if (sum != 0) {
            const T factor = kernel_math::exponential(maximum - highest);
            sum *= factor;
#pragma omp simd
            for (int64_t c = 0; c < padded; ++c)
                out[c] *= factor;
        }
        maximum = highest;
    }
    T total = 0;
    const T level = maximum;
#pragma omp simd reduction(+ : total)
    for (int64_t j = keys.first; j < keys.last; ++j) {
        scores[j] = kernel_math::exponential(scores[j] - level);
        total += scores[j];
    }
    sum += total;
}

template <class T>
void forward(const Task<T>& task, T* scratch)
{
    const auto padded = padded_columns(task.width);
    const auto n_blocks = (task.n_keys + kBlock - 1) / kBlock;
    T* keys = scratch;
    T* values = keys + n_blocks * kBlock * task.width;
    T* queries = values + n_blocks * kBlock * padded;
    T* out = queries + kBlock * padded;
    T* scores = out + kBlock * padded;
    T* maxima = scores + kBlock * kScoreRow;
    T* sums = maxima + kBlock;
    pack_transposed(task.k, task.row, task.n_keys, task.width, keys);
    pack(task.v, task.row, task.n_keys, task.width, T(1), values);
    for (int64_t first = 0; first < task.n_queries; first += kBlock) {
        const auto rows = task.n_queries - first < kBlock ? task.n_queries - first : kBlock;
        pack(task.q + first * task.row, task.row, rows, task.width, task.scale, queries);
        memset(out, 0, size_t(rows * padded) * sizeof(T));
        memset(maxima, 0, size_t(2 * kBlock) * sizeof(T));
        const auto blocks = blocks_of(task, first, first + rows);
        for (int64_t block = blocks.first; block < blocks.last; ++block) {
            const auto begin = block * kBlock;
            multiply<T>(rows, kBlock, task.width, {queries, padded, 1}, keys + begin * task.width, kBlock, {}, scores,
                        kScoreRow);
            for (int64_t i = 0; i < rows; ++i) {
                auto seen = keys_of(task, first + i);
                seen = clip({seen.first - begin, seen.last - begin}, 0, kBlock);
                T* row = scores + i * kScoreRow;
                if (seen.first >= seen.last) {
                    memset(row, 0, kBlock * sizeof(T));
                    continue;
                }
                bend(task, row, seen, task.query_position + first + i - begin);
                accumulate_row(row, seen, maxima[i], sums[i], out + i * padded, padded);
                zero_outside(row, seen);
            }
            const auto depth = task.n_keys - begin < kBlock ? task.n_keys - begin : kBlock;
            multiply<T>(rows, task.width, depth, {scores, kScoreRow, 1}, values + begin * padded, padded, {out, padded},
                        out, padded);
        }
        for (int64_t i = 0; i < rows; ++i) {
            T* to = task.out + (first + i) * task.row;
            const T factor = sums[i] > 0 ? 1 / sums[i] : T(0);
#pragma omp simd
            for (int64_t c = 0; c < task.width; ++c)
                to[c] = out[i * padded + c] * factor;
            task.log_sums[first + i] = sums[i] > 0 ? maxima[i] + T(::log(sums[i])) : T(0);
        }
    }
}

/// Products of a row become weights, and gradients of weights those of products.
template <class T>
inline void differentiate_row(const Task<T>& task, T* scores, T* gradients, Range keys, int64_t distance, T log_sum,
                              T mean)
{
    if (task.softcap > 0) {
        for (int64_t j = keys.first; j < keys.last; ++j) {
            const T bent = T(::tanh(scores[j] / task.softcap));
            const T bias = task.slope * T(distance > j ? distance - j : j - distance);
            const T excess = task.softcap * bent - bias - log_sum;
            scores[j] = kernel_math::exponential(excess < 0 ? excess : T(0));
            gradients[j] = scores[j] * (gradients[j] - mean) * (1 - bent * bent);
        }
    } else {
        bend(task, scores, keys, distance);
#pragma omp simd
        for (int64_t j = keys.first; j < keys.last; ++j) {
            const T excess = scores[j] - log_sum;
            const T weight = kernel_math::exponential(excess < 0 ? excess : T(0));
            scores[j] = weight;
            gradients[j] = weight * (gradients[j] - mean);
        }
    }
}

template <class T>
inline void store(const T* rows, int64_t n, int64_t width, T factor, T* to, int64_t row)
{
    const auto padded = padded_columns(width);
    for (int64_t i = 0; i < n; ++i)
#pragma omp simd
        for (int64_t c = 0; c < width; ++c)
            to[i * row + c] = factor * rows[i * padded + c];
}

template <class T>
void backward(const Task<T>& task, T* scratch)
{
    const auto padded = padded_columns(task.width), width = task.width;
    const auto n_keys = (task.n_keys + kBlock - 1) / kBlock * kBlock;
    T* keys_t = scratch;
    T* values_t = keys_t + n_keys * width;
    T* keys = values_t + n_keys * width;
    T* grad_keys = keys + n_keys * padded;
    T* grad_values = grad_keys + n_keys * padded;
    T* queries = grad_values + n_keys * padded;
    T* grad_out = queries + kBlock * padded;
    T* grad_queries = grad_out + kBlock * padded;
    T* scores = grad_queries + kBlock * padded;
    T* gradients = scores + kBlock * kScoreRow;
    T* means = gradients + kBlock * kScoreRow;
    pack_transposed(task.k, task.row, task.n_keys, width, keys_t);
    pack_transposed(task.v, task.row, task.n_keys, width, values_t);
    pack(task.k, task.row, task.n_keys, width, T(1), keys);
    memset(grad_keys, 0, size_t(2 * n_keys * padded) * sizeof(T));
    for (int64_t first = 0; first < task.n_queries; first += kBlock) {
        const auto rows = task.n_queries - first < kBlock ? task.n_queries - first : kBlock;
        pack(task.q + first * task.row, task.row, rows, width, task.scale, queries);
        pack(task.grad_out + first * task.row, task.row, rows, width, T(1), grad_out);
        memset(grad_queries, 0, size_t(rows * padded) * sizeof(T));
        for (int64_t i = 0; i < rows; ++i) {
            const T* out = task.out + (first + i) * task.row;
            T sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int64_t c = 0; c < width; ++c)
                sum += grad_out[i * padded + c] * out[c];
            means[i] = sum;
        }
        const auto blocks = blocks_of(task, first, first + rows);
        for (int64_t block = blocks.first; block < blocks.last; ++block) {
            const auto begin = block * kBlock;
            const auto count = task.n_keys - begin < kBlock ? task.n_keys - begin : kBlock;
            multiply<T>(rows, kBlock, width, {queries, padded, 1}, keys_t + begin * width, kBlock, {}, scores,
                        kScoreRow);
            multiply<T>(rows, kBlock, width, {grad_out, padded, 1}, values_t + begin * width, kBlock, {}, gradients,
                        kScoreRow);
            for (int64_t i = 0; i < rows; ++i) {
                auto seen = keys_of(task, first + i);
                seen = clip({seen.first - begin, seen.last - begin}, 0, kBlock);
                if (seen.first > seen.last)
                    seen = {0, 0};
                T* row = scores + i * kScoreRow;
                T* slope = gradients + i * kScoreRow;
                differentiate_row(task, row, slope, seen, task.query_position + first + i - begin,
                                  task.log_sums[first + i], means[i]);
                zero_outside(row, seen);
                zero_outside(slope, seen);
            }
            T* grad_value = grad_values + begin * padded;
            T* grad_key = grad_keys + begin * padded;
            multiply<T>(count, width, rows, {scores, 1, kScoreRow}, grad_out, padded, {grad_value, padded}, grad_value,
                        padded);
            multiply<T>(count, width, rows, {gradients, 1, kScoreRow}, queries, padded, {grad_key, padded}, grad_key,
                        padded);
            multiply<T>(rows, width, count, {gradients, kScoreRow, 1}, keys + begin * padded, padded,
                        {grad_queries, padded}, grad_queries, padded);
        }
        store(grad_queries, rows, width, task.scale, task.grad_q + first * task.row, task.row);
    }
    store(grad_keys, task.n_keys, width, T(1), task.grad_k, task.row);
    store(grad_values, task.n_keys, width, T(1), task.grad_v, task.row);
}

template <class T>
constexpr Kernels<T> kTable = {forward<T>, backward<T>};

} // namespace

namespace GRADWIND_KERNEL_SET
{

const Kernels<float>& of(float)
{
    return kTable<float>;
}
const Kernels<double>& of(double)
{
    return kTable<double>;
}

} // namespace GRADWIND_KERNEL_SET

} // namespace gradwind::ops::window_attention_kernels
