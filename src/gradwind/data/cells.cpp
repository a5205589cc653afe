// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/data/cells.h"

#include "gradwind/core/error.h"
#include "gradwind/data/combined_dataset.h"
#include "gradwind/data/dataset_store.h"

#include <algorithm>

namespace gradwind::data
{

CellRanges CellRanges::of(std::span<const int64_t> cells)
{
    std::vector<CellRange> parts;
    for (const auto cell : cells) {
        GRADWIND_ASSERT(parts.empty() || cell >= parts.back().end);
        if (parts.empty() || cell > parts.back().end)
            parts.push_back({cell, cell});
        parts.back().end = cell + 1;
    }
    return CellRanges(std::move(parts));
}

bool CellRanges::fits(int64_t n_cells) const
{
    int64_t end = 0;
    for (const auto& part : parts_) {
        if (part.begin < end || part.end < part.begin)
            return false;
        end = part.end;
    }
    return end <= n_cells;
}

bool operator==(const CellRanges& a, const CellRanges& b)
{
    return std::equal(a.parts_.begin(), a.parts_.end(), b.parts_.begin(), b.parts_.end(),
                      [](const auto& x, const auto& y) { return x.begin == y.begin && x.end == y.end; });
}

std::shared_ptr<const Dataset> select_cells(std::shared_ptr<const Dataset> dataset, const CellRanges& cells)
{
    GRADWIND_CHECK(cells.fits(dataset->n_cells()), DataError,
                   "[data] {}: expected ascending cells below {}, found {} ranges from {} to {}", dataset->info().name,
                   dataset->n_cells(), cells.parts().size(), cells.parts().empty() ? 0 : cells.parts().front().begin,
                   cells.parts().empty() ? 0 : cells.parts().back().end);
    if (cells.count() == dataset->n_cells())
        return dataset;
    if (const auto* combined = dynamic_cast<const CombinedDataset*>(dataset.get()))
        return combined->with_cells(cells);
    const auto* stored = dynamic_cast<const StoreDataset*>(dataset.get());
    GRADWIND_CHECK(stored != nullptr, DataError, "[data] {}: only of a store can some cells be read",
                   dataset->info().name);
    auto selection = stored->selection();
    std::vector<int64_t> kept;
    std::vector<double> latitudes, longitudes;
    for (const auto& part : cells.parts())
        for (auto cell = part.begin; cell < part.end; ++cell) {
            kept.push_back(selection.cells ? (*selection.cells)[size_t(cell)] : cell);
            latitudes.push_back(dataset->latitudes()[size_t(cell)]);
            longitudes.push_back(dataset->longitudes()[size_t(cell)]);
        }
    selection.cells = std::move(kept);
    selection.info.latitudes = std::move(latitudes);
    selection.info.longitudes = std::move(longitudes);
    return std::make_shared<StoreDataset>(stored->shared_store(), std::move(selection));
}

} // namespace gradwind::data
