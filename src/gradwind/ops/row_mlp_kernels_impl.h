// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Included by one source for each instruction set, which defines GRADWIND_KERNEL_SET (a name), kVectorBytes and
// kTileRows. Uses nothing inline of the standard library: the linker keeps one copy of such functions, and it could be
// the one for a newer machine.
#include "gradwind/ops/row_mlp_kernels.h"
#include "gradwind/ops/row_mlp_kernels_math.h"

#include <string.h>

namespace gradwind::ops::row_mlp_kernels
{

namespace
{

/// Operands side by side, padded with zeros.
template <class T>
void load_operands(const Task<T>& task, const Block& block, T* rows)
{
    const auto stride = row_stride(task.layers[0].in);
    const auto padded = stride - 16;
    for (int64_t i = block.first; i < block.last; ++i) {
        T* to = rows + (i - block.first) * stride;
        for (int64_t k = 0; k < task.n_operands; ++k) {
            const auto& operand = task.operands[k];
            memcpy(to, operand.rows + i * operand.width, size_t(operand.width) * sizeof(T));
            to += operand.width;
        }
        for (T* end = rows + (i - block.first) * stride + padded; to < end; ++to)
            *to = 0;
    }
}

/// The first layer before its activation.
template <class T>
void first_layer(const Task<T>& task, const Block& block, const T* x, T* z)
{
    const auto& linear = task.layers[0];
    const auto stride = row_stride(linear.out), rows = block.last - block.first;
    Start<T> start{linear.bias, 0};
    if (task.n_spread > 0) {
        for (int64_t i = 0; i < rows; ++i) {
            T* to = z + i * stride;
            const auto row = block.first + i;
            const T* first = task.spread[0].rows + task.spread[0].index[row] * stride;
            const T* second = task.n_spread > 1 ? task.spread[1].rows + task.spread[1].index[row] * stride : nullptr;
#pragma omp simd
            for (int64_t c = 0; c < stride - 16; ++c)
                to[c] = linear.bias[c] + first[c];
            if (second)
#pragma omp simd
                for (int64_t c = 0; c < stride - 16; ++c)
                    to[c] += second[c];
        }
        start = {z, stride};
    }
    multiply<T>(rows, linear.out, linear.in, {x, row_stride(linear.in), 1}, linear.by_input, stride, start, z, stride);
}

template <class T>
void next_layer(const Linear<T>& linear, int64_t rows, const T* x, T* z)
{
    const auto stride = row_stride(linear.out);
    multiply<T>(rows, linear.out, linear.in, {x, row_stride(linear.in), 1}, linear.by_input, stride, {linear.bias, 0},
                z, stride);
}

template <class T>
void forward(const Task<T>& task, const Block& block, T* scratch)
{
    const auto rows = block.last - block.first;
    T* x = scratch;
    load_operands(task, block, x);
    for (int64_t l = 0; l < task.n_layers; ++l) {
        const auto& linear = task.layers[l];
        T* z = x + rows * row_stride(linear.in);
        if (l == 0)
            first_layer(task, block, x, z);
        else
            next_layer(linear, rows, x, z);
        if (l + 1 < task.n_layers)
            activate(z, rows, linear.out, row_stride(linear.out));
        x = z;
    }
    const auto n = task.layers[task.n_layers - 1].out, stride = row_stride(n);
    for (int64_t i = 0; i < rows; ++i) {
        T* y = x + i * stride;
        T* out = task.out + (block.first + i) * n;
        const T* residual = task.residual < 0 ? nullptr : task.operands[task.residual].rows + (block.first + i) * n;
        if (task.norm_weight) {
            normalise(y, n, task.epsilon);
#pragma omp simd
            for (int64_t c = 0; c < n; ++c)
                y[c] = y[c] * task.norm_weight[c] + task.norm_bias[c];
        }
        if (residual)
#pragma omp simd
            for (int64_t c = 0; c < n; ++c)
                y[c] += residual[c];
        memcpy(out, y, size_t(n) * sizeof(T));
    }
    if (!task.sums)
        return;
    for (int64_t d = block.first_destination; d < block.last_destination; ++d) {
        T* sum = task.sums + d * n;
        memset(sum, 0, size_t(n) * sizeof(T));
        for (int64_t i = task.destinations[d]; i < task.destinations[d + 1]; ++i) {
            const T* y = x + (i - block.first) * stride;
#pragma omp simd
            for (int64_t c = 0; c < n; ++c)
                sum[c] += y[c];
        }
    }
}

/// The gradient of the rows of the result, padded with zeros.
template <class T>
void load_gradient(const Task<T>& task, const Block& block, T* g)
{
    const auto n = task.layers[task.n_layers - 1].out, stride = row_stride(n);
    for (int64_t i = block.first; i < block.last; ++i) {
        T* to = g + (i - block.first) * stride;
        const T* own = task.grad_out ? task.grad_out + i * n : nullptr;
        const T* sum = task.grad_sums ? task.grad_sums + task.destination_of_row[i] * n : nullptr;
        if (own && sum) {
#pragma omp simd
            for (int64_t c = 0; c < n; ++c)
                to[c] = own[c] + sum[c];
        } else {
            memcpy(to, own ? own : sum, size_t(n) * sizeof(T));
        }
        for (int64_t c = n; c < stride - 16; ++c)
            to[c] = 0;
    }
}

/// From normalised rows and the gradient `g` of the result to the gradient of the rows before, in place of the former.
template <class T>
void normalise_backward(const Task<T>& task, int64_t rows, T* x, const T* g, const T* scales, const TaskSums<T>& sums)
{
    const auto n = task.layers[task.n_layers - 1].out, stride = row_stride(n);
    for (int64_t i = 0; i < rows; ++i) {
        T* y = x + i * stride;
        const T* grad = g + i * stride;
        T mean = 0, slope = 0;
#pragma omp simd reduction(+ : mean, slope)
        for (int64_t c = 0; c < n; ++c) {
            const T weighted = grad[c] * task.norm_weight[c];
            mean += weighted;
            slope += weighted * y[c];
        }
        mean /= T(n);
        slope /= T(n);
        const T scale = scales[i];
#pragma omp simd
        for (int64_t c = 0; c < n; ++c) {
            sums.norm_weight[c] += grad[c] * y[c];
            sums.norm_bias[c] += grad[c];
            y[c] = scale * (grad[c] * task.norm_weight[c] - mean - y[c] * slope);
        }
    }
}

/// Adds z^T x to the sums of a weight and the rows of z to those of its bias.
template <class T>
void add_weight_gradient(const Linear<T>& linear, int64_t rows, const T* z, const T* x, const LinearSums<T>& sums)
{
    const auto out = row_stride(linear.out), in = row_stride(linear.in);
    multiply<T>(linear.out, linear.in, rows, {z, 1, out}, x, in, {sums.weight, in}, sums.weight, in);
    if (sums.bias)
        for (int64_t i = 0; i < rows; ++i)
#pragma omp simd
            for (int64_t c = 0; c < out - 16; ++c)
                sums.bias[c] += z[i * out + c];
}

/// Gradients of the operands: that of the first layer's input, and of the result for the residual one.
template <class T>
void store_operand_gradients(const Task<T>& task, const Block& block, const T* gradient, const T* result)
{
    const auto stride = row_stride(task.layers[0].in), result_stride = row_stride(task.layers[task.n_layers - 1].out);
    for (int64_t i = block.first; i < block.last; ++i) {
        const T* from = gradient + (i - block.first) * stride;
        for (int64_t k = 0; k < task.n_operands; ++k) {
            const auto& operand = task.operands[k];
            if (operand.gradient) {
                T* to = operand.gradient + i * operand.width;
                memcpy(to, from, size_t(operand.width) * sizeof(T));
                const T* residual = result + (i - block.first) * result_stride;
                if (k == task.residual)
#pragma omp simd
                    for (int64_t c = 0; c < operand.width; ++c)
                        to[c] += residual[c];
            }
            from += operand.width;
        }
    }
}

template <class T>
void backward(const Task<T>& task, const Block& block, T* scratch, const TaskSums<T>& sums)
{
    const auto rows = block.last - block.first, last = task.n_layers - 1;
    T* inputs[kMaxLayers];
    T* slopes[kMaxLayers];
    T* next = scratch;
    inputs[0] = next;
    load_operands(task, block, next);
    next += rows * row_stride(task.layers[0].in);
    for (int64_t l = 0; l < last; ++l) {
        const auto& linear = task.layers[l];
        const auto stride = row_stride(linear.out);
        T* z = next;
        slopes[l] = z + rows * stride;
        next = slopes[l] + rows * stride;
        if (l == 0)
            first_layer(task, block, inputs[0], z);
        else
            next_layer(linear, rows, inputs[l], z);
        // Padding columns hold zero and keep it.
        activate_with_slope(z, slopes[l], rows, stride - 16, stride);
        inputs[l + 1] = z;
    }
    const auto n = task.layers[last].out, stride = row_stride(n);
    T* y = next;
    T* g = y + rows * stride;
    T* scales = g + rows * stride;
    T* product = scales + rows;
    load_gradient(task, block, g);
    const T* gradient = g;
    if (task.norm_weight) {
        if (last == 0)
            first_layer(task, block, inputs[0], y);
        else
            next_layer(task.layers[last], rows, inputs[last], y);
        for (int64_t i = 0; i < rows; ++i)
            scales[i] = normalise(y + i * stride, n, task.epsilon);
        normalise_backward(task, rows, y, g, scales, sums);
        gradient = y;
    }
    for (int64_t l = last; l >= 0; --l) {
        const auto& linear = task.layers[l];
        const auto in = row_stride(linear.in), out = row_stride(linear.out);
        add_weight_gradient(linear, rows, gradient, inputs[l], sums.layers[l]);
        if (l == 0 && task.grad_hidden)
            memcpy(task.grad_hidden + block.first * out, gradient, size_t(rows * out) * sizeof(T));
        multiply<T>(rows, linear.in, linear.out, {gradient, out, 1}, linear.by_output, in, {}, product, in);
        if (l == 0)
            break;
        T* slope = slopes[l - 1];
        for (int64_t i = 0; i < rows; ++i)
#pragma omp simd
            for (int64_t c = 0; c < in - 16; ++c)
                slope[i * in + c] *= product[i * in + c];
        gradient = slope;
    }
    store_operand_gradients(task, block, product, g);
}

template <class T>
void project(const Projection<T>& projection, int64_t first, int64_t last)
{
    const auto& linear = projection.linear;
    const auto stride = row_stride(linear.out);
    multiply<T>(last - first, linear.out, linear.in, {projection.x.rows + first * linear.in, linear.in, 1},
                linear.by_input, stride, {}, projection.out + first * stride, stride);
}

template <class T>
void project_backward(const Projection<T>& projection, int64_t first, int64_t last, T* scratch,
                      const LinearSums<T>& sums)
{
    const auto& linear = projection.linear;
    const auto in = row_stride(linear.in), out = row_stride(linear.out), rows = last - first;
    T* g = scratch;
    T* x = g + rows * out;
    for (int64_t i = first; i < last; ++i) {
        T* sum = g + (i - first) * out;
        memset(sum, 0, size_t(out) * sizeof(T));
        for (int64_t k = projection.ptr[i]; k < projection.ptr[i + 1]; ++k) {
            const T* row = projection.grad_hidden + (projection.order ? projection.order[k] : k) * out;
#pragma omp simd
            for (int64_t c = 0; c < out - 16; ++c)
                sum[c] += row[c];
        }
        T* own = x + (i - first) * in;
        memcpy(own, projection.x.rows + i * linear.in, size_t(linear.in) * sizeof(T));
        for (int64_t c = linear.in; c < in; ++c)
            own[c] = 0;
    }
    add_weight_gradient(linear, rows, g, x, sums);
    if (!projection.x.gradient)
        return;
    multiply<T>(rows, linear.in, linear.out, {g, out, 1}, linear.by_output, in, {}, x, in);
    for (int64_t i = 0; i < rows; ++i)
        memcpy(projection.x.gradient + (first + i) * linear.in, x + i * in, size_t(linear.in) * sizeof(T));
}

template <class T>
constexpr Kernels<T> kTable = {forward<T>, backward<T>, project<T>, project_backward<T>};

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

} // namespace gradwind::ops::row_mlp_kernels
