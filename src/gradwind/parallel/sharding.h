// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// How one model lies over the ranks of its group.
#pragma once
#include "gradwind/parallel/group.h"
#include "gradwind/parallel/partition.h"

#include <map>
#include <memory>

namespace gradwind::parallel
{

/// Some rows of a tensor, in ascending order. Copies share their index.
class RowSet
{
public:
    /// All rows.
    RowSet() = default;
    RowSet(std::span<const int64_t> rows, int64_t n_rows);

    [[nodiscard]] bool is_all() const { return all_; }
    /// x with these rows of a dimension; x itself where they are all, a view where they are consecutive.
    /// @gradient zero in the other rows
    [[nodiscard]] at::Tensor of(const at::Tensor& x, int64_t dimension = 0) const;

private:
    bool all_ = true;
    std::optional<Span> range_;
    std::shared_ptr<at::Tensor> index_; ///< on the device where it was last used
};

/// The group that shares a model and which of its ranks owns which rows. By default one process has everything.
struct Sharding {
    Group group = Group::self("model");
    std::map<std::string, Partition> nodes = {}; ///< by node set; empty in a group of one

    /// The partition of a node set; a group of one holds all of its rows.
    /// @throws InternalError if a larger group has none for it
    [[nodiscard]] Partition partition(const std::string& name, int64_t n_rows) const;
    /// Rows of a node set that this rank owns.
    [[nodiscard]] RowSet own_rows(const std::string& name) const;
};

/// A field of which every rank holds its own rows, put together for what needs all of it.
///
/// @param x  this rank's rows of dimension `dimension`
/// @return the rows of all ranks in their global order; x in a group of one
/// @gradient own rows of the sum over ranks @collective forward and backward
[[nodiscard]] at::Tensor whole_field(const at::Tensor& x, int64_t dimension, const Partition& partition,
                                     const Group& group);

} // namespace gradwind::parallel
