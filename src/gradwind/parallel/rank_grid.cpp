// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/rank_grid.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/backend.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <vector>

namespace gradwind::parallel::detail
{

void all_gather_into(const Group& group, const at::Tensor& out, const at::Tensor& x)
{
    GRADWIND_CHECK(x.dim() == 1 && x.is_contiguous() && out.is_contiguous() && out.scalar_type() == x.scalar_type() &&
                       out.numel() == group.size() * x.numel(),
                   ShapeError, "[all_gather] expected contiguous tensors, the result {} times as long, found {} and {}",
                   group.size(), x.numel(), out.numel());
    const at::NoGradGuard no_grad;
    const std::vector<int64_t> rows(static_cast<size_t>(group.size()), x.numel());
    if (group.size() == 1 && out.data_ptr() != x.data_ptr())
        out.copy_(x);
    group.state()->run(Verb::AllGather, static_cast<int64_t>(x.nbytes()),
                       [&] { group.state()->backend->all_gather(out, x.detach(), rows); });
}

at::Tensor sum_of_own_part(const RankGrid& grid, const at::Tensor& x)
{
    const int64_t row = grid.row.size();
    GRADWIND_CHECK(x.dim() == 1 && x.numel() % row == 0, ShapeError,
                   "[gradients] {} elements cannot be cut evenly over a row of {} ranks", x.numel(), row);
    const std::vector<int64_t> parts(static_cast<size_t>(row), x.numel() / row);
    const at::Tensor part = grid.row.reduce_scatter_sum(x, parts);
    grid.column.all_reduce_sum_(part);
    return part;
}

MessageSum::MessageSum(const WorldSum& sum, at::Tensor x) : x_(std::move(x)), grid_(sum.grid)
{
    if (!grid_ && x_.numel() > 0)
        straight_.emplace(sum.world, x_, sum.route);
}

void MessageSum::start()
{
    if (straight_)
        straight_->start();
    else if (x_.numel() > 0)
        all_gather_into(grid_->row, x_, sum_of_own_part(*grid_, x_));
}

void MessageSum::wait()
{
    if (straight_)
        straight_->wait();
}

std::function<bool()> MessageSum::probe() const
{
    return straight_ ? straight_->probe() : std::function<bool()>();
}

int64_t MessageSum::handed_bytes() const
{
    if (straight_)
        return straight_->handed_bytes();
    if (!grid_)
        return 0;
    const auto bytes = static_cast<int64_t>(x_.nbytes()), part = bytes / grid_->row.size();
    return bytes + (grid_->column.size() > 1 ? part : 0) + part;
}

} // namespace gradwind::parallel::detail
