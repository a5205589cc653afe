// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Ranks of the world in rows and columns: nodes and what crosses them; private to parallel.
#pragma once
#include "gradwind/parallel/group.h"

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

} // namespace gradwind::parallel::detail
