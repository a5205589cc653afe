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

/// Cells that are transposed at a time: one cache line of each byte plane.
inline constexpr int64_t kTileCells = 64;

/// Writes out[cell][row] as float32: cell-major, one column per row.
///
/// Goes through the cells in tiles that stay in the first-level cache. Large outputs are written past the caches, which
/// halves the traffic: a field that does not fit into them is not read again soon.
/// @param fill value of rows whose chunk is absent
/// @param tile working memory of kTileCells * rows.size() floats, 64-byte aligned
/// @param out  [cells.count, rows.size()], contiguous
void transpose_cells(std::span<const CellRow> rows, ElementType type, float fill, const CellSelection& cells,
                     float* tile, float* out);

} // namespace gradwind::data
