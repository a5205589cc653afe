// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Decoding of one chunk file: only what is needed of it, in the form that is cheapest to transpose.
#pragma once
#include "gradwind/data/codec_scratch.h"
#include "gradwind/data/zarr_metadata.h"

#include <filesystem>
#include <span>
#include <vector>

namespace gradwind::data
{

/// Elements [begin, end) of a chunk, in its C order.
struct ElementRange {
    int64_t begin = 0;
    int64_t end = 0;
};

/// How the bytes of a decoded block lie.
enum class BlockLayout {
    Plain, ///< element after element
    Planes ///< all first bytes of its elements, then all second bytes, and so on: blosc's byte shuffle, left in place
};

/// A decoded chunk: blocks of equal size (the last may be shorter), of which only the needed ones are there.
struct DecodedChunk {
    bool absent = false; ///< there is no such file: every element is the fill value
    BlockLayout layout = BlockLayout::Plain;
    int64_t elements = 0;
    int64_t block_elements = 1;
    int64_t decoded_bytes = 0;            ///< of the blocks that are there
    std::vector<const std::byte*> blocks; ///< null where not asked for; valid until the scratch's arena is reset

    [[nodiscard]] int64_t elements_of(int64_t block) const
    {
        return std::min(block_elements, elements - block * block_elements);
    }
};

/// Reads a chunk file and decodes the blocks that hold the needed elements.
///
/// Blosc chunks are decoded block by block, each read from the file on its own; zlib and zstd chunks as a whole; of
/// uncompressed chunks only the needed ranges are read. Float32 chunks with byte shuffle stay shuffled.
/// @param needed ranges in any order, inside [0, meta.chunk_elements())
/// @throws DataError naming the file, for one that is damaged, too short or of another size than declared
void decode_chunk(const std::filesystem::path& file, const ArrayMetadata& meta, std::span<const ElementRange> needed,
                  DecodeScratch& scratch, DecodedChunk& out);

} // namespace gradwind::data
