// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Which part of the gradients each rank applies, where ranks share the optimiser's state; private to parallel.
#pragma once
#include "gradwind/parallel/arena.h"
#include "gradwind/parallel/bucket_table.h"
#include "gradwind/parallel/gradient_piece.h"

namespace gradwind::parallel::detail
{

/// Each rank of the group has a part of every bucket; one by itself has all.
class StateParts
{
public:
    /// From the next lay_out() on.
    void share_with(const Group& group) { share_.group = group; }
    /// Buckets, of lengths that can be cut evenly over the group.
    void lay_out(const Arena& arena, const BucketTable& buckets);

    [[nodiscard]] bool is_shared() const { return share_.group.size() > 1; }
    [[nodiscard]] const StateShare& share() const { return share_; }
    /// Of gradients that are not compressed: what this rank applies.
    [[nodiscard]] const std::vector<GradientPiece>& pieces() const { return pieces_; }
    /// Everybody gets the parts of all. @param flat  lies as the arena does @collective
    void gather(const at::Tensor& flat) const;

private:
    StateShare share_;
    std::vector<Span> buckets_; ///< that are shared
    std::vector<GradientPiece> pieces_;
};

} // namespace gradwind::parallel::detail
