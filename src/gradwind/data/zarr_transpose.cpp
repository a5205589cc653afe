// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/data/zarr_transpose.h"

#include "gradwind/data/zarr_array.h"
#include "gradwind/data/zarr_transpose_avx2.h"

#include <algorithm>
#include <cstring>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace gradwind::data
{

namespace
{

constexpr int64_t kTileRows = 4;
/// Outputs from this size on are written past the caches.
constexpr int64_t kStreamBytes = int64_t(1) << 20;

using Bytes16 = uint8_t __attribute__((vector_size(16)));
using Float4 = float __attribute__((vector_size(16)));

Bytes16 load16(const std::byte* bytes)
{
    Bytes16 out;
    std::memcpy(&out, bytes, sizeof(out));
    return out;
}

Bytes16 zip_low(Bytes16 a, Bytes16 b)
{
    return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

Bytes16 zip_high(Bytes16 a, Bytes16 b)
{
    return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

/// 16 elements from four byte planes.
void unshuffle16(const std::byte* plane, int64_t stride, float* out)
{
    const auto p0 = load16(plane), p1 = load16(plane + stride);
    const auto p2 = load16(plane + 2 * stride), p3 = load16(plane + 3 * stride);
    const auto even_low = zip_low(p0, p2), even_high = zip_high(p0, p2);
    const auto odd_low = zip_low(p1, p3), odd_high = zip_high(p1, p3);
    const Bytes16 parts[4] = {zip_low(even_low, odd_low), zip_high(even_low, odd_low), zip_low(even_high, odd_high),
                              zip_high(even_high, odd_high)};
    std::memcpy(out, parts, sizeof(parts));
}

float unshuffle1(const std::byte* plane, int64_t stride)
{
    const std::byte raw[4] = {plane[0], plane[stride], plane[2 * stride], plane[3 * stride]};
    float out;
    std::memcpy(&out, raw, sizeof(out));
    return out;
}

void unshuffle(const std::byte* plane, int64_t stride, int64_t count, float* out)
{
    int64_t i = 0;
    for (; i + 16 <= count; i += 16)
        unshuffle16(plane + i, stride, out + i);
    for (; i < count; ++i)
        out[i] = unshuffle1(plane + i, stride);
}

template <class Stored>
float to_float(const std::byte* bytes)
{
    Stored value;
    std::memcpy(&value, bytes, sizeof(value));
    return static_cast<float>(value);
}

/// Elements [first, first + count) of a chunk, all inside one block.
template <class Stored>
void load_piece(const DecodedChunk& chunk, int64_t block, int64_t offset, int64_t count, float* out)
{
    const auto* bytes = chunk.blocks[size_t(block)];
    if (chunk.layout == BlockLayout::Planes) {
        const auto stride = chunk.elements_of(block);
        if constexpr (std::is_same_v<Stored, float>) {
            // The planes of all rows are hundreds of streams, more than the hardware follows: ask for the next tile's.
            for (int64_t plane = 0; plane < 4; ++plane)
                __builtin_prefetch(bytes + plane * stride + offset + kTileCells, 0, 2);
            unshuffle(bytes + offset, stride, count, out);
        }
    } else if constexpr (std::is_same_v<Stored, float>) {
        std::memcpy(out, bytes + 4 * offset, size_t(4 * count));
    } else {
        for (int64_t i = 0; i < count; ++i)
            out[i] = to_float<Stored>(bytes + (offset + i) * int64_t(sizeof(Stored)));
    }
}

template <class Stored>
void load_range(const CellRow& row, int64_t cell, int64_t count, float fill, float* out)
{
    if (row.chunk->absent) {
        std::fill_n(out, count, fill);
        return;
    }
    auto element = row.first + cell;
    while (count > 0) {
        const auto block = element / row.chunk->block_elements;
        const auto offset = element - block * row.chunk->block_elements;
        const auto n = std::min(count, row.chunk->elements_of(block) - offset);
        load_piece<Stored>(*row.chunk, block, offset, n, out);
        element += n;
        out += n;
        count -= n;
    }
}

template <class Stored>
void load_cells(const CellRow& row, const CellSelection& cells, int64_t at, int64_t count, float fill, float* out)
{
    if (cells.listed.empty())
        return load_range<Stored>(row, cells.begin + at, count, fill, out);
    const auto* list = cells.listed.data() + at;
    for (int64_t i = 0; i < count;) {
        int64_t run = 1;
        while (i + run < count && list[i + run] == list[i] + run)
            ++run;
        load_range<Stored>(row, list[i] - cells.origin, run, fill, out + i);
        i += run;
    }
}

/// Four columns of the output from four staged rows.
void store_four(const float (*stage)[kTileCells], int64_t count, float* out, int64_t stride)
{
    int64_t i = 0;
    for (; i + 4 <= count; i += 4) {
        Float4 r[4];
        for (int64_t k = 0; k < 4; ++k)
            std::memcpy(&r[k], stage[k] + i, sizeof(Float4));
        const auto low01 = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5);
        const auto low23 = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5);
        const auto high01 = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
        const auto high23 = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
        const Float4 columns[4] = {
            __builtin_shufflevector(low01, low23, 0, 1, 4, 5), __builtin_shufflevector(low01, low23, 2, 3, 6, 7),
            __builtin_shufflevector(high01, high23, 0, 1, 4, 5), __builtin_shufflevector(high01, high23, 2, 3, 6, 7)};
        for (int64_t k = 0; k < 4; ++k)
            std::memcpy(out + (i + k) * stride, &columns[k], sizeof(Float4));
    }
    for (; i < count; ++i)
        for (int64_t k = 0; k < 4; ++k)
            out[i * stride + k] = stage[k][i];
}

/// Copies past the caches; `from` is 16-byte aligned.
void stream(const float* from, int64_t count, float* to)
{
    if (detail::has_avx2())
        return detail::stream_avx2(from, count, to);
    int64_t i = 0;
#if defined(__SSE2__)
    while (i < count && reinterpret_cast<uintptr_t>(to + i) % 16 != 0) {
        to[i] = from[i];
        ++i;
    }
    for (; i + 4 <= count; i += 4)
        _mm_stream_ps(to + i, _mm_loadu_ps(from + i));
#endif
    std::memcpy(to + i, from + i, size_t(count - i) * sizeof(float));
}

/// Makes streamed values visible to the threads that take the result over.
void stream_fence()
{
#if defined(__SSE2__)
    _mm_sfence();
#endif
}

/// The chunk's cell with which a whole tile begins; -1 if its cells do not follow each other.
int64_t first_of_run(const CellSelection& cells, int64_t at)
{
    if (cells.listed.empty())
        return cells.begin + at;
    const auto* list = cells.listed.data() + at;
    return list[kTileCells - 1] - list[0] == kTileCells - 1 ? list[0] - cells.origin : -1;
}

/// Finds whole tiles of byte planes: rows whose cells [first, first + kTileCells) lie in one block each.
bool find_planes(const CellRow* rows, int64_t first, detail::PlaneRow* planes)
{
    for (int64_t k = 0; k < kTileRows; ++k) {
        const auto& chunk = *rows[k].chunk;
        if (chunk.absent || chunk.layout != BlockLayout::Planes)
            return false;
        const auto element = rows[k].first + first;
        const auto block = element / chunk.block_elements;
        const auto offset = element - block * chunk.block_elements;
        const auto stride = chunk.elements_of(block);
        if (offset + kTileCells > stride)
            return false;
        planes[k] = {chunk.blocks[size_t(block)] + offset, stride};
        for (int64_t plane = 0; plane < 4; ++plane)
            __builtin_prefetch(planes[k].first + plane * stride + kTileCells, 0, 2);
    }
    return true;
}

/// Cells [at, at + count) of all rows to tile[cell][row].
template <class Stored>
void transpose_tile(std::span<const CellRow> rows, float fill, const CellSelection& cells, int64_t at, int64_t count,
                    float* tile)
{
    alignas(64) float stage[kTileRows][kTileCells];
    const auto n_rows = int64_t(rows.size());
    const auto first_cell = detail::has_avx2() && count == kTileCells ? first_of_run(cells, at) : -1;
    for (int64_t next = 0; next < n_rows; next += kTileRows) {
        // The last four rows overlap with those before rather than being fewer.
        const auto row = std::min(next, std::max<int64_t>(0, n_rows - kTileRows));
        const auto n = std::min(kTileRows, n_rows - row);
        if constexpr (std::is_same_v<Stored, float>)
            if (detail::PlaneRow planes[kTileRows];
                n == kTileRows && first_cell >= 0 && find_planes(&rows[size_t(row)], first_cell, planes)) {
                detail::planes_to_columns_avx2(planes, count, tile + row, n_rows);
                continue;
            }
        for (int64_t k = 0; k < n; ++k)
            load_cells<Stored>(rows[size_t(row + k)], cells, at, count, fill, stage[k]);
        if (n == kTileRows) {
            store_four(stage, count, tile + row, n_rows);
            continue;
        }
        for (int64_t i = 0; i < count; ++i)
            for (int64_t k = 0; k < n; ++k)
                tile[i * n_rows + row + k] = stage[k][i];
    }
}

template <class Stored>
void transpose_typed(std::span<const CellRow> rows, float fill, const CellSelection& cells, float* tile, float* out)
{
    const auto n_rows = int64_t(rows.size());
    const bool streamed = cells.count * n_rows * int64_t(sizeof(float)) >= kStreamBytes;
    for (int64_t at = 0; at < cells.count; at += kTileCells) {
        const auto count = std::min(kTileCells, cells.count - at);
        auto* const place = out + at * n_rows;
        transpose_tile<Stored>(rows, fill, cells, at, count, streamed ? tile : place);
        if (streamed)
            stream(tile, count * n_rows, place);
    }
    if (streamed)
        stream_fence();
}

} // namespace

void transpose_cells(std::span<const CellRow> rows, ElementType type, float fill, const CellSelection& cells,
                     float* tile, float* out)
{
    with_type(type, [&](auto tag) { transpose_typed<decltype(tag)>(rows, fill, cells, tile, out); });
}

} // namespace gradwind::data
