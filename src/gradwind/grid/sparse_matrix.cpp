// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/grid/sparse_matrix.h"

#include "gradwind/core/error.h"
#include "gradwind/grid/npz.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace gradwind::grid
{

namespace
{

std::vector<int64_t> as_integers(const std::vector<double>& values)
{
    std::vector<int64_t> out;
    out.reserve(values.size());
    for (const auto value : values)
        out.push_back(std::abs(value) < 0x1p53 ? int64_t(value) : -1);
    return out;
}

/// The sum in numpy's order, whose rounding the original's normalised weights have.
float pairwise_sum(const float* values, size_t n)
{
    constexpr size_t lanes = 8, block = 128;
    if (n < lanes) {
        float sum = -0.0F;
        for (size_t i = 0; i < n; ++i)
            sum += values[i];
        return sum;
    }
    if (n > block) {
        const auto half = n / 2 - n / 2 % lanes;
        return pairwise_sum(values, half) + pairwise_sum(values + half, n - half);
    }
    std::array<float, lanes> r;
    std::copy_n(values, lanes, r.begin());
    size_t i = lanes;
    for (; i + lanes <= n; i += lanes)
        for (size_t k = 0; k < lanes; ++k)
            r[k] += values[i + k];
    float sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
    for (; i < n; ++i)
        sum += values[i];
    return sum;
}

} // namespace

void check_matrix(const SparseMatrix& matrix, const std::string& where)
{
    const auto& ptr = matrix.row_ptr;
    const bool fits = matrix.n_rows >= 0 && matrix.n_cols >= 0 && int64_t(ptr.size()) == matrix.n_rows + 1 &&
                      ptr.front() == 0 && std::is_sorted(ptr.begin(), ptr.end()) &&
                      ptr.back() == int64_t(matrix.col.size()) && matrix.col.size() == matrix.values.size();
    GRADWIND_CHECK(fits, DataError,
                   "[grid] {}: expected a matrix by rows, with {} + 1 row pointers that ascend from 0 to the number of "
                   "elements; found {} pointers, {} columns and {} values",
                   where, matrix.n_rows, ptr.size(), matrix.col.size(), matrix.values.size());
    for (const auto col : matrix.col)
        GRADWIND_CHECK(col >= 0 && col < matrix.n_cols, DataError, "[grid] {}: column {} is not in [0, {})", where, col,
                       matrix.n_cols);
}

SparseMatrix read_sparse_npz(const std::filesystem::path& path)
{
    SparseMatrix matrix;
    const auto shape = as_integers(read_npz_doubles(path, "shape"));
    GRADWIND_CHECK(shape.size() == 2, DataError, "[grid] {}: expected a matrix, found a shape of {} dimensions",
                   path.string(), shape.size());
    matrix.n_rows = shape[0];
    matrix.n_cols = shape[1];
    matrix.row_ptr = as_integers(read_npz_doubles(path, "indptr"));
    matrix.col = as_integers(read_npz_doubles(path, "indices"));
    matrix.values = read_npz_doubles(path, "data");
    for (auto& value : matrix.values)
        value = double(float(value));
    check_matrix(matrix, path.string());
    return matrix;
}

SparseMatrix row_normalised(SparseMatrix matrix)
{
    std::vector<std::pair<int64_t, float>> row_values;
    std::vector<float> values;
    for (int64_t row = 0; row < matrix.n_rows; ++row) {
        const auto begin = matrix.row_ptr[size_t(row)], end = matrix.row_ptr[size_t(row) + 1];
        row_values.clear();
        for (auto i = begin; i < end; ++i)
            row_values.emplace_back(matrix.col[size_t(i)], float(matrix.values[size_t(i)]));
        std::stable_sort(row_values.begin(), row_values.end(),
                         [](const auto& a, const auto& b) { return a.first < b.first; });
        values.clear();
        for (const auto& [col, value] : row_values)
            values.push_back(value);
        const float sum = values.empty() ? 0 : values.front() + pairwise_sum(values.data() + 1, values.size() - 1);
        if (sum != 0)
            for (auto i = begin; i < end; ++i)
                matrix.values[size_t(i)] = double(float(matrix.values[size_t(i)]) * (1.0F / sum));
    }
    return matrix;
}

} // namespace gradwind::grid
