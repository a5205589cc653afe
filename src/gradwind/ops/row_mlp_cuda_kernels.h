// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Loops over rows on a GPU: what stands between the matrix products of a perceptron. Free of torch.
//
// All matrices are contiguous [rows, width], all pointers are to device memory, all sums are fp32 and in an order that
// depends on the shapes alone. A launch that fails throws std::runtime_error.
#pragma once
#include <cstdint>

namespace gradwind::ops::row_mlp_cuda
{

enum class Real { Float, BFloat16 };

/// Where a kernel runs, and on what.
struct Launch {
    Real real = Real::Float;
    int64_t rows = 0;
    int64_t width = 0;
    void* stream = nullptr; ///< cudaStream_t
};

/// Rows of a node table added to rows of edges: row i takes rows[index[i]].
struct Spread {
    const void* rows = nullptr;
    const int64_t* index = nullptr;
};

/// a = gelu(z + bias + spread...); z is replaced by the argument of gelu where `pre` says so.
enum class Keep { Nothing, Argument };
void activate(const Launch& launch, void* z, const float* bias, const Spread (&spread)[2], void* a, Keep keep);

struct Norm {
    const float* weight = nullptr; ///< null: no normalisation
    const float* bias = nullptr;
    float epsilon = 0;
};

/// out = norm(z + bias) + residual; `residual` may be null.
void finish(const Launch& launch, const void* z, const float* bias, const Norm& norm, const void* residual, void* out);

/// What reaches the rows: their own gradient and that of the sums at their destinations; either may be null.
struct RowGradient {
    const void* rows = nullptr;
    const void* sums = nullptr;
    const int64_t* destination = nullptr;
};

/// Column sums are left in parts: [count_parts(rows), width] each.
[[nodiscard]] int64_t count_parts(int64_t rows);

/// Gradient of finish(): dz of z, and parts of the gradients of bias, norm weight and norm bias (the last two may be
/// null). `total` receives the gradient of the residual, where it is not null.
struct FinishSums {
    float* bias = nullptr;
    float* norm_weight = nullptr;
    float* norm_bias = nullptr;
};
void finish_backward(const Launch& launch, const void* z, const float* bias, const Norm& norm,
                     const RowGradient& gradient, void* dz, void* total, const FinishSums& parts);

/// Parts of the sums of x over its rows; rows i with ptr[i] == ptr[i + 1] are left out, none where ptr is null.
void column_sums(const Launch& launch, const void* x, const int64_t* ptr, float* parts);

/// sums[set] = sum of parts[set] over its rows, [sets, width] of [sets, parts, width].
struct PartsShape {
    int64_t sets = 0, parts = 0, width = 0;
};
void sum_parts(const PartsShape& shape, const float* parts, float* sums, void* stream);

/// dz = da * gelu'(pre), in place of da, and parts of the gradient of the bias.
void activate_backward(const Launch& launch, const void* pre, void* da, float* bias_parts);

/// out[i] = sum of rows[order[ptr[i]]] .. rows[order[ptr[i + 1] - 1]], in that order; order may be null.
/// launch.rows counts the segments.
void segment_sum(const Launch& launch, const void* rows, const int64_t* ptr, const int64_t* order, void* out);

} // namespace gradwind::ops::row_mlp_cuda
