// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/data/decode_tally.h"

#include "gradwind/core/error.h"
#include "gradwind/data/cells.h"
#include "gradwind/data/combined_dataset.h"

#include <algorithm>

namespace gradwind::data
{

std::vector<DecodeTally> decode_one_date(const std::shared_ptr<const Dataset>& dataset,
                                         std::span<const CellRanges> selections)
{
    const auto& missing = dataset->missing();
    const int64_t date = std::find(missing.begin(), missing.end(), char(0)) - missing.begin();
    GRADWIND_CHECK(date < dataset->n_dates(), DataError, "[data] {}: every date is missing", dataset->info().name);
    std::vector<DecodeTally> result;
    std::vector<float> values;
    for (const auto& cells : selections) {
        const auto part = select_cells(dataset, cells);
        const auto before = decoded_by(*part);
        values.resize(size_t(part->n_members() * part->n_cells() * part->n_variables()));
        part->read({&date, 1}, {0, part->n_cells()}, values);
        const auto after = decoded_by(*part);
        result.push_back({after.chunks - before.chunks, after.bytes - before.bytes, after.block_bytes});
    }
    return result;
}

} // namespace gradwind::data
