// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Members of one ensemble on several ranks, brought together piece by piece of the grid.
#pragma once
#include "gradwind/parallel/group.h"
#include "gradwind/parallel/layout.h"

namespace gradwind::parallel
{

/// Ranks that hold the members of one ensemble between them, equally many each and all with the same grid points.
///
/// What compares members is computed on disjoint ranges of the grid, one for each rank, on which that rank has the
/// fields of all members: shares of a sum over grid points then add up over the group, and so do their gradients.
class MemberExchange
{
public:
    explicit MemberExchange(Group group) : group_(std::move(group)) {}
    [[nodiscard]] const Group& group() const { return group_; }
    /// The range of `n_points` grid points that this rank compares.
    /// @throws ShapeError if there are fewer points than ranks
    [[nodiscard]] Span own_points(int64_t n_points) const;
    /// @param x [batch, time, own members, n_points, columns]
    /// @return [batch, time, all members, own_points(n_points).size, columns], members in rank order
    /// @gradient the reverse exchange, its true adjoint
    /// @collective forward and backward: each rank sends x but for its own range; a group of one returns x
    [[nodiscard]] at::Tensor all_members(const at::Tensor& x) const;

private:
    Group group_;
};

} // namespace gradwind::parallel
