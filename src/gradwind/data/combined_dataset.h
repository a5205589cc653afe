// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Several data sets read as one: their variables side by side, their dates or their cells one after the other.
#pragma once
#include "gradwind/data/cells.h"
#include "gradwind/data/dataset.h"
#include "gradwind/data/decode_tally.h"

#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace gradwind::data
{

enum class Axis { Dates, Variables, Cells };

class CombinedDataset : public Dataset
{
public:
    struct Part {
        std::shared_ptr<const Dataset> dataset; ///< with nothing but what is read here
        std::vector<int64_t> places;            ///< of its dates, variables or cells in the whole; cells: ascending
    };
    /// Statistics that came from another data set.
    struct OtherStatistics {
        std::shared_ptr<const Dataset> dataset; ///< nothing: the parts' own
        std::vector<std::string> names;         ///< of the variables there
    };

    /// Positions of the whole that no part has must be missing dates.
    CombinedDataset(DatasetInfo info, Axis axis, std::vector<Part> parts, OtherStatistics statistics);
    [[nodiscard]] const std::vector<Part>& parts() const { return parts_; }
    [[nodiscard]] Axis axis() const { return axis_; }
    [[nodiscard]] std::shared_ptr<const Dataset> with_cells(const CellRanges& cells) const;
    [[nodiscard]] std::optional<Statistics> statistics_tendencies(int64_t delta_s) const override;
    [[nodiscard]] int64_t decode_group(int64_t position) const override;
    void read_dates(std::span<const int64_t> dates, CellRange cells, std::span<float* const> out) const override;

private:
    class Lease;
    void read_by_dates(std::span<const int64_t> dates, CellRange cells, std::span<float* const> out) const;
    void read_by_variables(std::span<const int64_t> dates, CellRange cells, std::span<float* const> out) const;
    void read_by_cells(std::span<const int64_t> dates, CellRange cells, std::span<float* const> out) const;
    /// Of several members the cells of a part are not in one piece of the whole. @param n_cells of the whole request
    void read_members(const Part& part, std::span<const int64_t> dates, CellRange own, int64_t n_cells,
                      std::span<float* const> out) const;

    struct Place {
        int64_t part = -1, position = 0;
    };

    Axis axis_;
    std::vector<Part> parts_;
    OtherStatistics statistics_;
    std::vector<Place> place_of_date_; ///< where the axis is that of dates
    mutable std::mutex mutex_;
    mutable std::vector<std::vector<float>>
        idle_; ///< what parts are read to, one for each thread that ever read at once
};

/// What a data set decoded since it was opened, by all threads, in all its stores.
[[nodiscard]] DecodeTally decoded_by(const Dataset& dataset);

/// Cells of each grid that a data set was put together from, one after the other; of one that was not: all.
[[nodiscard]] std::vector<int64_t> grids_of(const Dataset& dataset);

/// Statistics of some variables, in this order.
[[nodiscard]] Statistics pick(const Statistics& all, std::span<const int64_t> positions);

/// Tendency statistics of variables that another data set has under these names.
[[nodiscard]] std::optional<Statistics> tendencies_named(const Dataset& other, std::span<const std::string> names,
                                                         int64_t delta_s);

} // namespace gradwind::data
