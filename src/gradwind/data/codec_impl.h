// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Shared by the sources of the codecs.
#pragma once
#include "gradwind/data/codec.h"

#include <string>

namespace gradwind::data::detail
{

/// A file opened for reading at positions.
class ChunkFile
{
public:
    explicit ChunkFile(const std::filesystem::path& path);
    ~ChunkFile();
    ChunkFile(const ChunkFile&) = delete;
    ChunkFile& operator=(const ChunkFile&) = delete;
    [[nodiscard]] bool exists() const { return descriptor_ >= 0; }
    [[nodiscard]] int64_t size() const { return size_; }
    [[nodiscard]] std::string name() const { return path_.string(); }
    /// @throws DataError if the file ends before
    void read(int64_t offset, int64_t bytes, std::byte* out) const;

private:
    const std::filesystem::path& path_;
    int descriptor_ = -1;
    int64_t size_ = 0;
};

/// Marks the blocks that hold the ranges; out.elements and out.block_elements are set, out.blocks sized.
/// @return per block, whether it is needed
std::vector<char> needed_blocks(const DecodedChunk& out, std::span<const ElementRange> needed);

void decode_blosc(const ChunkFile& file, const ArrayMetadata& meta, std::span<const ElementRange> needed,
                  DecodeScratch& scratch, DecodedChunk& out);

} // namespace gradwind::data::detail
