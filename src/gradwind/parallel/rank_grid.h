// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Ranks of the world in rows and columns: nodes and what crosses them; private to parallel.
#pragma once
#include "gradwind/parallel/group.h"
#include "gradwind/parallel/repeated_sum.h"

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

/// How messages are summed over all ranks: straight, or by rows, which is a part in the row, the part over its column,
/// and round the row.
struct WorldSum {
    Group world;
    std::optional<RankGrid> grid; ///< the rows
    Route route = Route::Library; ///< where there are no rows
    /// Elements that messages are multiples of.
    [[nodiscard]] int64_t granule() const { return grid ? grid->row.size() : 1; }
};

/// The sum of one message, in every step again; equal on all ranks bit for bit.
class MessageSum
{
public:
    /// @param x  [n], contiguous, a multiple of the granule, perhaps empty; becomes the sum @collective
    MessageSum(const WorldSum& sum, at::Tensor x);
    /// Once before each wait(). By rows it waits, too. @collective @throws CommError
    void start();
    /// As RepeatedSum::wait().
    void wait();
    [[nodiscard]] std::function<bool()> probe() const;
    /// What this rank hands to collectives.
    [[nodiscard]] int64_t handed_bytes() const;
    [[nodiscard]] int64_t buffer_bytes() const { return straight_ ? straight_->buffer_bytes() : 0; }

private:
    at::Tensor x_;
    std::optional<RankGrid> grid_;
    std::optional<RepeatedSum> straight_; ///< nothing for an empty message, and by rows
};

} // namespace gradwind::parallel::detail
