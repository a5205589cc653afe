// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/member_exchange.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/autograd.h"

#include <ATen/ATen.h>

namespace gradwind::parallel
{

Span MemberExchange::own_points(int64_t n_points) const
{
    GRADWIND_CHECK(
        n_points >= group_.size(), ShapeError,
        "[ensemble] {} grid points cannot be compared by {} processes of an ensemble, a range each; use fewer "
        "for num_gpus_per_ensemble",
        n_points, group_.size());
    return balanced_span(n_points, group_.size(), group_.rank());
}

at::Tensor MemberExchange::all_members(const at::Tensor& x) const
{
    if (group_.size() == 1)
        return x;
    const auto own = own_points(x.size(3)).size;
    const auto send = balanced_partition(x.size(3), group_.size());
    const std::vector<int64_t> receive(send.size(), own);
    const auto arrived = exchange_rows(x.permute({3, 0, 1, 2, 4}).contiguous(), send, receive, group_);
    return arrived.reshape({group_.size(), own, x.size(0), x.size(1), x.size(2), x.size(4)})
        .permute({2, 3, 0, 4, 1, 5})
        .reshape({x.size(0), x.size(1), group_.size() * x.size(2), own, x.size(4)});
}

} // namespace gradwind::parallel
