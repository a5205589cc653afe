// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// How much is decoded to read some cells.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace gradwind::data
{

class Dataset;
class CellRanges;

/// What a data set decoded since it was opened.
struct DecodeTally {
    int64_t chunks = 0;      ///< files that were opened and exist
    int64_t bytes = 0;       ///< that came out of the codec
    int64_t block_bytes = 0; ///< of the largest piece that can be decoded by itself: a block, or a whole chunk
};

/// What reading one date costs for each of some selections, found by reading the first date that is there.
/// @throws DataError as select_cells() and reading
[[nodiscard]] std::vector<DecodeTally> decode_one_date(const std::shared_ptr<const Dataset>& dataset,
                                                       std::span<const CellRanges> selections);

} // namespace gradwind::data
