// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Blosc chunks, block by block.
//
// A chunk is: a header of 16 bytes (version, version of the codec, flags, element size; then int32 uncompressed bytes,
// block bytes, compressed bytes), the int32 offset of every block, the blocks. Each block that is needed is handed to
// the library as a chunk of its own, with a header made here. That decodes straight into its place, touches nothing
// else of the chunk, and with the shuffle flags cleared leaves the bytes shuffled: the transposition then takes them
// apart in the same pass, which saves one trip of all bytes through memory.
#include "gradwind/core/error.h"
#include "gradwind/data/codec_impl.h"

#include <algorithm>
#include <blosc.h>
#include <cstring>

namespace gradwind::data::detail
{

namespace
{

constexpr int64_t kHeader = 16;
constexpr int64_t kBlockHeader = kHeader + 4; ///< of a chunk with one block: header and one offset
constexpr uint8_t kByteShuffle = 0x1, kStored = 0x2, kBitShuffle = 0x4, kNoSplit = 0x10;
/// Neighbouring blocks are read together up to this size, which stays in the second-level cache while it is decoded.
constexpr int64_t kReadBytes = int64_t(256) << 10;

int32_t int32_at(const std::byte* bytes)
{
    int32_t value = 0;
    std::memcpy(&value, bytes, sizeof(value));
    return value;
}

void put_int32(std::byte* bytes, int64_t value)
{
    const auto narrow = int32_t(value);
    std::memcpy(bytes, &narrow, sizeof(narrow));
}

struct BloscHeader {
    uint8_t version = 0, codec_version = 0, flags = 0, type_bytes = 0;
    int64_t bytes = 0, block_bytes = 0, compressed_bytes = 0;
};

BloscHeader read_header(const ChunkFile& file, const ArrayMetadata& meta)
{
    GRADWIND_CHECK(file.size() >= kHeader, DataError,
                   "[zarr] {}: {} bytes are too few for a blosc chunk; it is cut short", file.name(), file.size());
    std::byte raw[kHeader];
    file.read(0, kHeader, raw);
    BloscHeader header;
    header.version = uint8_t(raw[0]);
    header.codec_version = uint8_t(raw[1]);
    header.flags = uint8_t(raw[2]);
    header.type_bytes = uint8_t(raw[3]);
    header.bytes = int32_at(raw + 4);
    header.block_bytes = int32_at(raw + 8);
    header.compressed_bytes = int32_at(raw + 12);
    GRADWIND_CHECK(header.version >= 1 && header.version <= BLOSC_VERSION_FORMAT && header.type_bytes > 0, DataError,
                   "[zarr] {}: does not start with a blosc header; the chunk is damaged", file.name());
    GRADWIND_CHECK(header.bytes == meta.chunk_bytes(), DataError,
                   "[zarr] {}: the blosc header declares {} bytes, the array's chunks have {}; the chunk is damaged",
                   file.name(), header.bytes, meta.chunk_bytes());
    GRADWIND_CHECK(header.compressed_bytes == file.size(), DataError,
                   "[zarr] {}: {} bytes, but the blosc header declares {}; the chunk is cut short or damaged",
                   file.name(), file.size(), header.compressed_bytes);
    GRADWIND_CHECK(header.block_bytes > 0 && (header.block_bytes <= header.bytes || header.bytes == 0), DataError,
                   "[zarr] {}: the blosc header declares blocks of {} bytes; the chunk is damaged", file.name(),
                   header.block_bytes);
    return header;
}

struct BlockSpan {
    int64_t block = 0, begin = 0, end = 0; ///< bytes of the file
};

/// The needed blocks in file order. A block ends where the next one starts: blosc's threads may have written them in
/// any order.
std::vector<BlockSpan> find_blocks(const ChunkFile& file, const BloscHeader& header, const std::vector<char>& marks,
                                   DecodeScratch& scratch)
{
    const auto n_blocks = int64_t(marks.size());
    const auto data_begin = kHeader + 4 * n_blocks;
    GRADWIND_CHECK(data_begin <= file.size(), DataError,
                   "[zarr] {}: {} bytes are too few for the offsets of {} blocks; the chunk is damaged", file.name(),
                   file.size(), n_blocks);
    auto* const table = scratch.compressed.reserve(size_t(4 * n_blocks));
    file.read(kHeader, 4 * n_blocks, table);
    std::vector<BlockSpan> spans;
    std::vector<int64_t> starts;
    for (int64_t block = 0; block < n_blocks; ++block) {
        const int64_t begin = int32_at(table + 4 * block);
        GRADWIND_CHECK(begin >= data_begin && begin < file.size(), DataError,
                       "[zarr] {}: block {} starts at byte {}, outside {} to {}; the chunk is damaged", file.name(),
                       block, begin, data_begin, file.size());
        starts.push_back(begin);
        if (marks[size_t(block)])
            spans.push_back({block, begin, header.compressed_bytes});
    }
    std::sort(starts.begin(), starts.end());
    for (auto& span : spans) {
        const auto next = std::upper_bound(starts.begin(), starts.end(), span.begin);
        if (next != starts.end())
            span.end = *next;
    }
    std::sort(spans.begin(), spans.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
    return spans;
}

/// Decodes the block whose bytes start at `bytes`; the kBlockHeader bytes before it are overwritten.
void decode_block(const ChunkFile& file, const BloscHeader& header, const BlockSpan& span, uint8_t flags,
                  int64_t block_bytes, std::byte* bytes, std::byte* out)
{
    auto* const chunk = bytes - kBlockHeader;
    const auto chunk_bytes = span.end - span.begin + kBlockHeader;
    // The short last block of a chunk is never split; alone it would look like a full one.
    if (block_bytes != header.block_bytes)
        flags |= kNoSplit;
    chunk[0] = std::byte(header.version);
    chunk[1] = std::byte(header.codec_version);
    chunk[2] = std::byte(flags);
    chunk[3] = std::byte(header.type_bytes);
    put_int32(chunk + 4, block_bytes);
    put_int32(chunk + 8, block_bytes);
    put_int32(chunk + 12, chunk_bytes);
    put_int32(chunk + 16, kBlockHeader);
    const int got = ::blosc_decompress_ctx(chunk, out, size_t(block_bytes), 1);
    GRADWIND_CHECK(got == block_bytes, DataError,
                   "[zarr] {}: block {} does not decode (blosc says {}); the chunk is damaged", file.name(), span.block,
                   got);
}

void read_stored(const ChunkFile& file, const BloscHeader& header, const std::vector<char>& marks, int64_t width,
                 DecodeScratch& scratch, DecodedChunk& out)
{
    GRADWIND_CHECK(header.compressed_bytes == header.bytes + kHeader, DataError,
                   "[zarr] {}: {} bytes, expected {} of stored data; the chunk is damaged", file.name(), file.size(),
                   header.bytes + kHeader);
    for (size_t block = 0; block < marks.size(); ++block) {
        if (!marks[block])
            continue;
        const auto bytes = out.elements_of(int64_t(block)) * width;
        auto* const place = scratch.decoded.allocate(size_t(bytes));
        file.read(kHeader + int64_t(block) * header.block_bytes, bytes, place);
        out.blocks[block] = place;
    }
}

void decode_spans(const ChunkFile& file, const BloscHeader& header, std::span<const BlockSpan> spans, uint8_t flags,
                  int64_t width, DecodeScratch& scratch, DecodedChunk& out)
{
    for (size_t first = 0; first < spans.size();) {
        auto last = first;
        while (last + 1 < spans.size() && spans[last + 1].begin == spans[last].end &&
               spans[last + 1].end - spans[first].begin <= kReadBytes)
            ++last;
        const auto begin = spans[first].begin;
        auto* const buffer = scratch.compressed.reserve(size_t(kBlockHeader + spans[last].end - begin)) + kBlockHeader;
        file.read(begin, spans[last].end - begin, buffer);
        for (; first <= last; ++first) {
            const auto block = spans[first].block;
            const auto bytes = out.elements_of(block) * width;
            auto* const place = scratch.decoded.allocate(size_t(bytes));
            decode_block(file, header, spans[first], flags, bytes, buffer + (spans[first].begin - begin), place);
            out.blocks[size_t(block)] = place;
        }
    }
}

/// Blocks that cut elements apart (no writer makes them): the library decodes the chunk as a whole.
void decode_as_whole(const ChunkFile& file, const BloscHeader& header, DecodeScratch& scratch, DecodedChunk& out)
{
    auto* const bytes = scratch.compressed.reserve(size_t(file.size()));
    file.read(0, file.size(), bytes);
    auto* const plain = scratch.decoded.allocate(size_t(header.bytes));
    size_t declared = 0;
    const bool valid = ::blosc_cbuffer_validate(bytes, size_t(file.size()), &declared) == 0;
    GRADWIND_CHECK(valid && ::blosc_decompress_ctx(bytes, plain, size_t(header.bytes), 1) == header.bytes, DataError,
                   "[zarr] {}: does not decode; the chunk is damaged", file.name());
    out.blocks.assign(1, plain);
}

} // namespace

void decode_blosc(const ChunkFile& file, const ArrayMetadata& meta, std::span<const ElementRange> needed,
                  DecodeScratch& scratch, DecodedChunk& out)
{
    const auto header = read_header(file, meta);
    const auto width = size_of(meta.type);
    if (header.bytes == 0)
        return;
    if (header.block_bytes % width != 0)
        return decode_as_whole(file, header, scratch, out);
    out.block_elements = header.block_bytes / width;
    out.blocks.assign(size_t((header.bytes + header.block_bytes - 1) / header.block_bytes), nullptr);
    const auto marks = needed_blocks(out, needed);
    if (header.flags & kStored)
        return read_stored(file, header, marks, width, scratch, out);
    auto flags = header.flags;
    const bool bytes_shuffled = (flags & kByteShuffle) && !(flags & kBitShuffle);
    if (bytes_shuffled && meta.type == ElementType::F32 && header.type_bytes == width) {
        flags &= uint8_t(~kByteShuffle);
        out.layout = BlockLayout::Planes;
    }
    const auto spans = find_blocks(file, header, marks, scratch);
    decode_spans(file, header, spans, flags, width, scratch, out);
}

} // namespace gradwind::data::detail
