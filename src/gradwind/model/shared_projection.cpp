// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/model/shared_projection.h"

#include "gradwind/core/error.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace gradwind::model
{

namespace
{

/// The row of every element.
template <class Id>
std::vector<Id> rows_of_elements(const grid::SparseMatrix& matrix)
{
    std::vector<Id> rows;
    rows.reserve(matrix.col.size());
    for (int64_t row = 0; row < matrix.n_rows; ++row)
        rows.insert(rows.end(), size_t(matrix.row_ptr[size_t(row) + 1] - matrix.row_ptr[size_t(row)]), Id(row));
    return rows;
}

} // namespace

SharedProjection::SharedProjection(const grid::SparseMatrix& matrix, parallel::Group group,
                                   const parallel::Partition& columns, const parallel::Partition& rows)
    : group_(std::move(group))
{
    GRADWIND_CHECK(columns.n_rows() == matrix.n_cols && rows.n_rows() == matrix.n_rows, InternalError,
                   "[model] a matrix of [{}, {}] and partitions of {} rows and {} columns", matrix.n_rows,
                   matrix.n_cols, rows.n_rows(), columns.n_rows());
    plan_ = parallel::make_exchange_plan(columns, rows, matrix.col, rows_of_elements<int64_t>(matrix), group_.rank());
    for (const auto element : plan_.edges)
        values_.push_back(matrix.values[size_t(element)]);
    plan_.edges = {};
}

const SharedProjection::Call& SharedProjection::call(int64_t fields, at::Device device)
{
    auto found = calls_.find(fields);
    if (found != calls_.end() && found->second.device == device)
        return found->second;
    std::vector<int64_t> dst;
    std::vector<double> values;
    dst.reserve(plan_.dst.size() * size_t(fields));
    values.reserve(dst.capacity());
    for (int64_t field = 0; field < fields; ++field) {
        for (const auto row : plan_.dst)
            dst.push_back(field * plan_.n_destinations + row);
        values.insert(values.end(), values_.begin(), values_.end());
    }
    ops::Projection matrix{ops::make_edge_index(plan_.sources_of_copies(fields), dst,
                                                fields * (plan_.n_owned + plan_.n_halo()),
                                                fields * plan_.n_destinations),
                           at::tensor(values, at::kDouble)};
    matrix.move_to(device);
    parallel::HaloExchange columns(group_, plan_, fields, device);
    return calls_.insert_or_assign(fields, Call{device, std::move(matrix), std::move(columns)}).first->second;
}

at::Tensor SharedProjection::operator()(const at::Tensor& x)
{
    GRADWIND_CHECK(x.dim() == 3 && x.size(1) == plan_.n_owned, ShapeError,
                   "[model] expected [fields, {}, channels] for a matrix, found [{}]", plan_.n_owned,
                   fmt::join(x.sizes().vec(), ", "));
    if (group_.size() == 1)
        return ops::project(x, call(1, x.device()).matrix);
    const auto& own = call(x.size(0), x.device());
    const auto columns = own.columns(x.flatten(0, 1));
    return ops::project(columns, own.matrix).reshape({x.size(0), plan_.n_destinations, x.size(2)});
}

parallel::Partition rows_by_columns(const grid::SparseMatrix& matrix, const parallel::Partition& columns)
{
    std::vector<int32_t> owners;
    std::vector<int64_t> elements(size_t(columns.n_parts()));
    for (int64_t row = 0; row < matrix.n_rows; ++row) {
        std::fill(elements.begin(), elements.end(), 0);
        for (auto i = matrix.row_ptr[size_t(row)]; i < matrix.row_ptr[size_t(row) + 1]; ++i)
            ++elements[size_t(columns.owner(matrix.col[size_t(i)]))];
        owners.push_back(int32_t(std::max_element(elements.begin(), elements.end()) - elements.begin()));
    }
    return parallel::Partition::from_owners(std::move(owners), columns.n_parts());
}

parallel::HaloCount count_halo(const grid::SparseMatrix& matrix, const parallel::Partition& columns,
                               const parallel::Partition& rows)
{
    const std::vector<int32_t> src(matrix.col.begin(), matrix.col.end());
    return parallel::count_halo(columns, rows, src, rows_of_elements<int32_t>(matrix));
}

} // namespace gradwind::model
