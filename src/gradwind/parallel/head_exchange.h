// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// From some rows of all attention heads to all rows of some heads, and back.
#pragma once
#include "gradwind/parallel/sharding.h"

namespace gradwind::parallel
{

/// @throws ConfigError if there are fewer attention heads than processes to share them
void require_heads(int64_t heads, int n_processes);

/// Changes how a model group shares [rows, heads * depth]: by rows, as everywhere in the model, or by heads, so that
/// attention sees every row. In a group of one both are the same and it returns its input.
class HeadExchange
{
public:
    HeadExchange() = default;
    /// @param rows    of one copy, over the ranks of the group
    /// @param copies  of the rows, which lie copy by copy
    /// @throws ConfigError if there are fewer heads than ranks
    HeadExchange(Group group, const Partition& rows, int64_t copies, int64_t heads, at::Device device);

    /// Heads of this rank; all of them in a group of one.
    [[nodiscard]] Span own_heads() const { return own_heads_; }
    /// [copies * own rows, heads * depth] -> [copies * all rows, own heads * depth], rows in their global order.
    /// Several tensors travel together if they are of one type.
    /// @gradient to_rows() @collective forward and backward
    [[nodiscard]] std::vector<at::Tensor> to_heads(const std::vector<at::Tensor>& tensors) const;
    [[nodiscard]] at::Tensor to_heads(const at::Tensor& x) const { return to_heads(std::vector{x}).front(); }
    /// [copies * all rows, own heads * depth] -> [copies * own rows, heads * depth]. @gradient to_heads()
    [[nodiscard]] at::Tensor to_rows(const at::Tensor& x) const;

private:
    [[nodiscard]] std::vector<at::Tensor> one_by_one(const std::vector<at::Tensor>& tensors) const;
    Group group_ = Group::self("model");
    std::vector<int64_t> rows_; ///< of every rank, all copies
    int64_t heads_ = 1;
    Span own_heads_;
    /// From the order in which rows arrive (rank by rank, for each copy by copy) to the global order of each copy, and
    /// back; undefined where both are the same.
    at::Tensor to_global_, to_ranks_;
};

} // namespace gradwind::parallel
