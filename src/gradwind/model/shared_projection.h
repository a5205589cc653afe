// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// A sparse matrix between node sets that the processes of a model group have cut.
#pragma once
#include "gradwind/grid/sparse_matrix.h"
#include "gradwind/ops/projection.h"
#include "gradwind/parallel/autograd.h"

#include <map>

namespace gradwind::model
{

/// The matrix times fields of which every process holds its own columns, for its own rows.
///
/// What travels are the columns that rows of other processes need. A row is summed in the order of its elements,
/// whoever owns it: equal bits for any number of processes.
class SharedProjection
{
public:
    /// @param columns, rows  who owns them; one part in a group of one
    SharedProjection(const grid::SparseMatrix& matrix, parallel::Group group, const parallel::Partition& columns,
                     const parallel::Partition& rows);
    /// @param x [fields, own columns, channels] @return [fields, own rows, channels] of the same type
    /// @gradient the transposed matrix times the gradient @collective forward, and backward where x needs a gradient
    [[nodiscard]] at::Tensor operator()(const at::Tensor& x);

private:
    /// The matrix for so many fields, on a device.
    struct Call {
        at::Device device;
        ops::Projection matrix;
        parallel::HaloExchange columns;
    };
    const Call& call(int64_t fields, at::Device device);

    parallel::Group group_;
    parallel::ExchangePlan plan_;
    std::vector<double> values_;    ///< of the own rows' elements
    std::map<int64_t, Call> calls_; ///< by fields
};

/// Who owns the rows of a matrix if each goes where most of its elements are owned.
[[nodiscard]] parallel::Partition rows_by_columns(const grid::SparseMatrix& matrix, const parallel::Partition& columns);

/// The exchange that a matrix needs.
[[nodiscard]] parallel::HaloCount count_halo(const grid::SparseMatrix& matrix, const parallel::Partition& columns,
                                             const parallel::Partition& rows);

} // namespace gradwind::model
