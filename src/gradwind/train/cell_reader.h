// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Which cells a process reads, and how it comes by those that it works on.
#pragma once
#include "gradwind/data/cells.h"
#include "gradwind/parallel/group.h"

#include <ATen/core/Tensor.h>

#include <memory>
#include <span>
#include <vector>

namespace gradwind::train
{

/// Cells that each process of a group works on, ascending, in the order of its ranks. Those of several model groups of
/// an ensemble are the same.
using OwnCells = std::span<const std::vector<int64_t>>;

/// The own cells of every process, each in one part only: what several processes work on is cut into as many pieces.
[[nodiscard]] std::vector<data::CellRanges> own_parts(OwnCells own);
/// Whether each part is one range, so that there is nothing to choose.
[[nodiscard]] bool are_ranges(std::span<const data::CellRanges> parts);
/// All cells in ranges of equal size.
[[nodiscard]] std::vector<data::CellRanges> equal_ranges(int64_t n_cells, int n_parts);
/// Whether reading own parts is cheap enough, by what the busiest process decodes of a date: an exchange of what was
/// read is worth more than a tenth.
[[nodiscard]] bool prefers_own_parts(int64_t bytes_of_parts, int64_t bytes_of_ranges);

/// The processes of a reader group read one sample between them; then each is given the cells that it works on.
///
/// Each reads its own part, unless the busiest one then decodes much more than with equal ranges of all cells; in that
/// case each reads a range. What others work on is handed over by all-to-all. No process reads what another has read,
/// but for ranges in a model group of several reader groups.
class CellReader
{
public:
    /// Reads all cells and works on all of them.
    explicit CellReader(int64_t n_cells);
    /// @collective the reader group
    CellReader(parallel::Group readers, const std::shared_ptr<const data::Dataset>& dataset, OwnCells own);

    [[nodiscard]] const data::CellRanges& cells() const { return cells_; }
    /// From [samples, T, members, read cells, variables] to the cells that this process works on; the same tensor where
    /// it has read just these. @collective the reader group, with as many samples each, unless every process has read
    /// just its own; sends samples x T x members x variables values of every cell that another process works on
    [[nodiscard]] at::Tensor own(const at::Tensor& values) const;

private:
    struct Exchange;
    data::CellRanges cells_;
    std::shared_ptr<Exchange> exchange_; ///< null: nothing to do
};

} // namespace gradwind::train
