// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/head_exchange.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/autograd.h"

#include <ATen/ATen.h>

#include <numeric>

namespace gradwind::parallel
{

void require_heads(int64_t heads, int n_processes)
{
    GRADWIND_CHECK(heads >= n_processes, ConfigError,
                   "[heads] {} attention heads cannot be shared by {} processes: every one needs at least one; use "
                   "more heads, fewer processes a model, or another shard_strategy",
                   heads, n_processes);
}

HeadExchange::HeadExchange(Group group, const Partition& rows, int64_t copies, int64_t heads, at::Device device)
    : group_(std::move(group)), heads_(heads)
{
    require_heads(heads, group_.size());
    own_heads_ = balanced_span(heads, group_.size(), group_.rank());
    std::vector<int64_t> arrival(size_t(copies * rows.n_rows())), global;
    bool is_ordered = true;
    for (int rank = 0; rank < group_.size(); ++rank) {
        rows_.push_back(copies * rows.size(rank));
        for (int64_t copy = 0; copy < copies; ++copy)
            for (const auto row : rows.rows(rank)) {
                const auto place = copy * rows.n_rows() + row;
                is_ordered = is_ordered && place == int64_t(global.size());
                arrival[size_t(place)] = int64_t(global.size());
                global.push_back(place);
            }
    }
    if (is_ordered)
        return;
    to_global_ = at::tensor(arrival, at::kLong).to(device);
    to_ranks_ = at::tensor(global, at::kLong).to(device);
}

std::vector<at::Tensor> HeadExchange::one_by_one(const std::vector<at::Tensor>& tensors) const
{
    std::vector<at::Tensor> result;
    for (const auto& x : tensors)
        result.push_back(to_heads(x));
    return result;
}

std::vector<at::Tensor> HeadExchange::to_heads(const std::vector<at::Tensor>& tensors) const
{
    if (group_.size() == 1)
        return tensors;
    const auto own_rows = rows_[size_t(group_.rank())];
    for (const auto& x : tensors) {
        if (x.scalar_type() != tensors.front().scalar_type())
            return one_by_one(tensors);
        GRADWIND_CHECK(x.dim() == 2 && x.size(0) == own_rows && x.size(1) % heads_ == 0, ShapeError,
                       "[heads] expected [{}, {} * depth] (own rows, heads), got {} rows of {}", own_rows, heads_,
                       x.size(0), x.size(1));
    }
    std::vector<at::Tensor> blocks;
    std::vector<int64_t> send(size_t(group_.size()), 0), receive = send;
    for (int rank = 0; rank < group_.size(); ++rank)
        for (const auto& x : tensors) {
            const auto theirs = balanced_span(heads_, group_.size(), rank);
            const auto depth = x.size(1) / heads_;
            blocks.push_back(x.narrow(1, theirs.begin * depth, theirs.size * depth).reshape({-1}));
            send[size_t(rank)] += own_rows * theirs.size * depth;
            receive[size_t(rank)] += rows_[size_t(rank)] * own_heads_.size * depth;
        }
    const auto all = exchange_rows(at::cat(blocks), send, receive, group_);
    std::vector<std::vector<at::Tensor>> arrived(tensors.size());
    int64_t begin = 0;
    for (const auto n_rows : rows_)
        for (size_t i = 0; i < tensors.size(); ++i) {
            const auto columns = own_heads_.size * (tensors[i].size(1) / heads_);
            arrived[i].push_back(all.narrow(0, begin, n_rows * columns).view({n_rows, columns}));
            begin += n_rows * columns;
        }
    std::vector<at::Tensor> result;
    for (const auto& parts : arrived) {
        // One tensor lies in one piece already.
        const auto rows = tensors.size() == 1 ? all.view({-1, parts.front().size(1)}) : at::cat(parts);
        result.push_back(to_global_.defined() ? rows.index_select(0, to_global_) : rows);
    }
    return result;
}

at::Tensor HeadExchange::to_rows(const at::Tensor& x) const
{
    if (group_.size() == 1)
        return x;
    const auto depth = x.size(1) / own_heads_.size, own_rows = rows_[size_t(group_.rank())];
    const auto all_rows = std::accumulate(rows_.begin(), rows_.end(), int64_t{0});
    GRADWIND_CHECK(x.dim() == 2 && x.size(0) == all_rows && x.size(1) == own_heads_.size * depth, ShapeError,
                   "[heads] expected [{}, {} * depth] (all rows, own heads), got {} rows of {}", all_rows,
                   own_heads_.size, x.size(0), x.size(1));
    std::vector<int64_t> send, receive;
    for (int rank = 0; rank < group_.size(); ++rank) {
        send.push_back(rows_[size_t(rank)] * own_heads_.size * depth);
        receive.push_back(own_rows * balanced_span(heads_, group_.size(), rank).size * depth);
    }
    const auto all =
        exchange_rows((to_ranks_.defined() ? x.index_select(0, to_ranks_) : x).reshape({-1}), send, receive, group_);
    std::vector<at::Tensor> blocks;
    int64_t begin = 0;
    for (int rank = 0; rank < group_.size(); ++rank) {
        const auto columns = balanced_span(heads_, group_.size(), rank).size * depth;
        blocks.push_back(all.narrow(0, begin, own_rows * columns).view({own_rows, columns}));
        begin += own_rows * columns;
    }
    return at::cat(blocks, 1);
}

} // namespace gradwind::parallel
