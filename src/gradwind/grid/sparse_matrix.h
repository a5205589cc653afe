// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Matrices that take fields from one grid to another.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace gradwind::grid
{

/// A sparse matrix by rows; a row makes one value of the target grid.
struct SparseMatrix {
    int64_t n_rows = 0;
    int64_t n_cols = 0;
    std::vector<int64_t> row_ptr; ///< [n_rows + 1]; elements row_ptr[i] .. row_ptr[i + 1] belong to row i
    std::vector<int64_t> col;     ///< [elements]
    std::vector<double> values;   ///< [elements]
};

/// Matrices by the name that a configuration gives in the place of a file; asked before files.
using MatrixByName = std::function<std::optional<SparseMatrix>(const std::string& name)>;

/// A matrix as scipy.sparse.save_npz writes it, in CSR form; values as float32, which is what the original computes
/// with.
/// @throws DataError for a missing or damaged file, another form, or indices that do not fit
[[nodiscard]] SparseMatrix read_sparse_npz(const std::filesystem::path& path);

/// @throws DataError naming `where` if row pointers and columns do not make a matrix of that shape
void check_matrix(const SparseMatrix& matrix, const std::string& where);

/// Rows that add up to one; rows without elements stay.
[[nodiscard]] SparseMatrix row_normalised(SparseMatrix matrix);

} // namespace gradwind::grid
