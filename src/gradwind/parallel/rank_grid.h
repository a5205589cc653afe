// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Ranks of the world in rows and columns: nodes and what crosses them; private to parallel.
#pragma once
#include "gradwind/parallel/group.h"

#include <optional>
#include <string>
#include <utility>

namespace gradwind::parallel::detail
{

/// The world as a table: consecutive ranks in rows, and the columns across them.
struct RankGrid {
    Group row;    ///< row_size consecutive ranks
    Group column; ///< those with the same place in their rows
};

/// @param name  of the rows; columns are called `<name>_across`
/// @collective all ranks of world
/// @throws ConfigError if rows of this size do not fill the world
[[nodiscard]] RankGrid make_rank_grid(const Group& world, int row_size, const std::string& name);

/// As many elements of every rank, in rank order, in a contiguous tensor, of which x may be this rank's block.
/// @collective @throws CommError, ShapeError
void all_gather_into(const Group& group, const at::Tensor& out, const at::Tensor& x);

/// This rank's part, as x is cut evenly over the row, of the sum over all ranks: a row's shares are added in rank
/// order, bf16 in fp32. @param x  [n], a multiple of the row; not changed @collective @throws CommError, ShapeError
[[nodiscard]] at::Tensor sum_of_own_part(const RankGrid& grid, const at::Tensor& x);

/// Sums over all ranks, straight or by rows: a part in the row, the part over its column, and round the row. Waits.
class WorldSum
{
public:
    explicit WorldSum(Group world, std::optional<RankGrid> grid = {}) : world_(std::move(world)), grid_(std::move(grid))
    {
    }
    /// x becomes the sum, equal on all ranks bit for bit.
    /// @param x  [n], contiguous, a multiple of granule() @collective @throws CommError, ShapeError
    void operator()(const at::Tensor& x) const;
    [[nodiscard]] int64_t granule() const;
    /// What this rank hands to collectives for a tensor of this size.
    [[nodiscard]] int64_t handed_bytes(int64_t bytes) const;

private:
    Group world_;
    std::optional<RankGrid> grid_;
};

} // namespace gradwind::parallel::detail
