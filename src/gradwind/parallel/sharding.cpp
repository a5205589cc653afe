// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/sharding.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/autograd.h"

#include <ATen/ATen.h>

namespace gradwind::parallel
{

RowSet::RowSet(std::span<const int64_t> rows, int64_t n_rows) : all_(static_cast<int64_t>(rows.size()) == n_rows)
{
    if (all_)
        return;
    if (rows.empty())
        range_ = Span{};
    else if (rows.back() - rows.front() + 1 == static_cast<int64_t>(rows.size()))
        range_ = Span{rows.front(), static_cast<int64_t>(rows.size())};
    else
        index_ = std::make_shared<at::Tensor>(at::tensor(std::vector<int64_t>(rows.begin(), rows.end()), at::kLong));
}

at::Tensor RowSet::of(const at::Tensor& x, int64_t dimension) const
{
    if (all_)
        return x;
    if (range_)
        return x.narrow(dimension, range_->begin, range_->size);
    if (index_->device() != x.device())
        *index_ = index_->to(x.device());
    return x.index_select(dimension, *index_);
}

Partition Sharding::partition(const std::string& name, int64_t n_rows) const
{
    if (group.size() == 1)
        return Partition(n_rows);
    const auto found = nodes.find(name);
    GRADWIND_CHECK(found != nodes.end() && found->second.n_rows() == n_rows, InternalError,
                   "[sharding] the {} rows of `{}` are not cut into parts for group {}", n_rows, name, group.name());
    return found->second;
}

RowSet Sharding::own_rows(const std::string& name) const
{
    if (group.size() == 1)
        return {};
    const auto found = nodes.find(name);
    GRADWIND_CHECK(found != nodes.end(), InternalError, "[sharding] `{}` is not cut into parts for group {}", name,
                   group.name());
    return {found->second.rows(group.rank()), found->second.n_rows()};
}

at::Tensor whole_field(const at::Tensor& x, int64_t dimension, const Partition& partition, const Group& group)
{
    if (group.size() == 1)
        return x;
    auto all = gather_rows(x.movedim(dimension, 0).contiguous(), partition.sizes(), group);
    bool is_ordered = true;
    std::vector<int64_t> place(partition.n_rows());
    for (int64_t row = 0, next = 0; next < group.size(); ++next)
        for (const int64_t global : partition.rows(int(next))) {
            is_ordered = is_ordered && global == row;
            place[global] = row++;
        }
    if (!is_ordered)
        all = all.index_select(0, at::tensor(place, at::kLong).to(all.device()));
    return all.movedim(0, dimension);
}

} // namespace gradwind::parallel
