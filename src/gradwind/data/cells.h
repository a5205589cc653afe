// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Which cells of a data set are read.
#pragma once
#include "gradwind/data/dataset.h"

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace gradwind::data
{

/// Ascending cells as ranges: a shard of a grid is one range, or as many as a partition by place cuts it into.
class CellRanges
{
public:
    CellRanges() = default;
    CellRanges(CellRange range) : parts_{range} {}
    CellRanges(int64_t begin, int64_t end) : parts_{{begin, end}} {}
    explicit CellRanges(std::vector<CellRange> parts) : parts_(std::move(parts)) {}
    /// @param cells  ascending, each once @throws InternalError if they are not
    [[nodiscard]] static CellRanges of(std::span<const int64_t> cells);
    [[nodiscard]] const std::vector<CellRange>& parts() const { return parts_; }
    [[nodiscard]] int64_t count() const
    {
        int64_t sum = 0;
        for (const auto& part : parts_)
            sum += part.count();
        return sum;
    }
    /// Whether the ranges ascend without overlap and lie in [0, n_cells).
    [[nodiscard]] bool fits(int64_t n_cells) const;
    friend bool operator==(const CellRanges& a, const CellRanges& b);

private:
    std::vector<CellRange> parts_;
};

/// The same data set with some of its cells only; the data set itself if they are all.
/// @throws DataError if the ranges do not ascend or go beyond the data set, or the data set is not in a store
[[nodiscard]] std::shared_ptr<const Dataset> select_cells(std::shared_ptr<const Dataset> dataset,
                                                          const CellRanges& cells);

} // namespace gradwind::data
