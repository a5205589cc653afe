// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// From decoded chunks (cells contiguous) to the layout of training (variables contiguous).
#pragma once
#include "gradwind/data/codec.h"

#include <span>

namespace gradwind::data
{

/// The cells of one variable, date and member in a decoded chunk.
struct CellRow {
    const DecodedChunk* chunk = nullptr;
    int64_t first = 0; ///< element of the chunk's first cell
};

/// Cells of one chunk: a range, or ascending single cells where `listed` is not empty.
struct CellSelection {
    int64_t begin = 0;
    int64_t count = 0;
    std::span<const int64_t> listed; ///< cells of the whole grid
    int64_t origin = 0;              ///< the chunk's first cell, to be taken off the listed ones
};

/// Writes out[cell][row] as float32: cell-major, one column per row, tile by tile, so that every byte of the chunks
/// and of the output is touched once while it is in the first-level cache.
/// @param fill value of rows whose chunk is absent
/// @param out  [cells.count, rows.size()], contiguous
void transpose_cells(std::span<const CellRow> rows, ElementType type, float fill, const CellSelection& cells,
                     float* out);

} // namespace gradwind::data
