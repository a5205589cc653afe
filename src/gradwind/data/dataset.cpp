// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/data/dataset.h"

#include "gradwind/core/datetime.h"
#include "gradwind/core/error.h"
#include "gradwind/data/dataset_dates.h"

#include <nlohmann/json.hpp>

namespace gradwind::data
{

Dataset::Dataset(DatasetInfo info) : info_(std::move(info))
{
    if (!info_.variables_metadata)
        info_.variables_metadata = std::make_shared<const nlohmann::json>(nlohmann::json::object());
    GRADWIND_ASSERT(info_.missing.size() == info_.dates.size());
    GRADWIND_ASSERT(info_.longitudes.size() == info_.latitudes.size());
}

const nlohmann::json& Dataset::variables_metadata() const
{
    return *info_.variables_metadata;
}

std::optional<Statistics> Dataset::statistics_tendencies(int64_t) const
{
    return std::nullopt;
}

void Dataset::check_request(std::span<const int64_t> dates, CellRange cells) const
{
    GRADWIND_CHECK(cells.begin >= 0 && cells.begin <= cells.end && cells.end <= n_cells(), DataError,
                   "[data] {}: cells {} to {} were asked for, there are {}", info_.name, cells.begin, cells.end,
                   n_cells());
    for (const auto position : dates) {
        GRADWIND_CHECK(position >= 0 && position < n_dates(), DataError,
                       "[data] {}: date position {} was asked for, there are {}", info_.name, position, n_dates());
        GRADWIND_CHECK(!info_.missing[size_t(position)], DataError, "[data] {}: Date {} is missing (index={})",
                       info_.name, format_datetime(info_.dates[size_t(position)]), position);
    }
}

void Dataset::read(std::span<const int64_t> dates, CellRange cells, std::span<float> out) const
{
    check_request(dates, cells);
    const auto per_date = n_members() * cells.count() * n_variables();
    GRADWIND_CHECK(
        int64_t(out.size()) == int64_t(dates.size()) * per_date, ShapeError,
        "[data] {}: the output has room for {} values, expected {} (dates {}, members {}, cells {}, variables {})",
        info_.name, out.size(), int64_t(dates.size()) * per_date, dates.size(), n_members(), cells.count(),
        n_variables());
    std::vector<float*> places;
    for (size_t i = 0; i < dates.size(); ++i)
        places.push_back(out.data() + int64_t(i) * per_date);
    read_dates(dates, cells, places);
}

} // namespace gradwind::data
