// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/data/codec.h"

#include "gradwind/core/error.h"
#include "gradwind/data/codec_impl.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

namespace gradwind::data
{

namespace detail
{

ChunkFile::ChunkFile(const std::filesystem::path& path) : path_(path)
{
    descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor_ < 0) {
        const int error = errno;
        GRADWIND_CHECK(error == ENOENT || error == ENOTDIR, DataError, "[zarr] {}: cannot be opened: {}", path.string(),
                       std::strerror(error));
        return;
    }
    struct stat status {
    };
    if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
        ::close(descriptor_);
        throw DataError(fmt::format("[zarr] {}: is not a file; the store is damaged", path.string()));
    }
    size_ = status.st_size;
}

ChunkFile::~ChunkFile()
{
    if (descriptor_ >= 0)
        ::close(descriptor_);
}

void ChunkFile::read(int64_t offset, int64_t bytes, std::byte* out) const
{
    while (bytes > 0) {
        const auto got = ::pread(descriptor_, out, size_t(bytes), offset);
        if (got < 0 && errno == EINTR)
            continue;
        GRADWIND_CHECK(got >= 0, DataError, "[zarr] {}: reading failed: {}", name(), std::strerror(errno));
        GRADWIND_CHECK(got > 0, DataError, "[zarr] {}: ends at byte {}, {} more were expected; the chunk is cut short",
                       name(), offset, bytes);
        offset += got;
        out += got;
        bytes -= got;
    }
}

std::vector<char> needed_blocks(const DecodedChunk& out, std::span<const ElementRange> needed)
{
    std::vector<char> marks(out.blocks.size(), 0);
    for (const auto& range : needed) {
        GRADWIND_ASSERT(range.begin >= 0 && range.begin <= range.end && range.end <= out.elements);
        if (range.begin == range.end)
            continue;
        const auto first = range.begin / out.block_elements;
        const auto last = (range.end - 1) / out.block_elements;
        std::fill(marks.begin() + first, marks.begin() + last + 1, char(1));
    }
    return marks;
}

namespace
{

/// Uncompressed chunks are read in blocks of this many bytes.
constexpr int64_t kRawBlockBytes = int64_t(64) << 10;

void decode_raw(const ChunkFile& file, const ArrayMetadata& meta, std::span<const ElementRange> needed,
                DecodeScratch& scratch, DecodedChunk& out)
{
    GRADWIND_CHECK(file.size() == meta.chunk_bytes(), DataError,
                   "[zarr] {}: {} bytes, expected {} of an uncompressed chunk; the chunk is damaged", file.name(),
                   file.size(), meta.chunk_bytes());
    const auto width = size_of(meta.type);
    out.block_elements = kRawBlockBytes / width;
    out.blocks.assign(size_t((out.elements + out.block_elements - 1) / out.block_elements), nullptr);
    const auto marks = needed_blocks(out, needed);
    for (size_t first = 0; first < marks.size(); ++first) {
        if (!marks[first])
            continue;
        auto last = first;
        while (last + 1 < marks.size() && marks[last + 1])
            ++last;
        const auto begin = int64_t(first) * out.block_elements * width;
        const auto end = (int64_t(last) * out.block_elements + out.elements_of(int64_t(last))) * width;
        auto* const bytes = scratch.decoded.allocate(size_t(end - begin));
        file.read(begin, end - begin, bytes);
        for (auto block = first; block <= last; ++block)
            out.blocks[block] = bytes + int64_t(block - first) * out.block_elements * width;
        first = last;
    }
}

/// A compressed file never needs more than this for so many bytes; what is larger is not a chunk.
int64_t largest_compressed(int64_t bytes)
{
    return bytes + bytes / 16 + (int64_t(1) << 16);
}

std::span<std::byte> read_whole(const ChunkFile& file, const ArrayMetadata& meta, DecodeScratch& scratch)
{
    GRADWIND_CHECK(file.size() <= largest_compressed(meta.chunk_bytes()), DataError,
                   "[zarr] {}: {} bytes are too many for a chunk of {}; the chunk is damaged", file.name(), file.size(),
                   meta.chunk_bytes());
    auto* const bytes = scratch.compressed.reserve(size_t(file.size()) + 64);
    file.read(0, file.size(), bytes);
    return {bytes, size_t(file.size())};
}

void inflate_all(std::span<std::byte> in, std::span<std::byte> out, const std::string& name)
{
    z_stream stream{};
    // 32: zlib and gzip headers are told apart by inflate itself.
    if (::inflateInit2(&stream, MAX_WBITS + 32) != Z_OK)
        throw std::bad_alloc();
    stream.next_in = reinterpret_cast<Bytef*>(in.data());
    stream.avail_in = uInt(in.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = uInt(out.size());
    const int status = ::inflate(&stream, Z_FINISH);
    const auto produced = stream.total_out;
    const std::string reason = stream.msg ? stream.msg : "the stream does not end where the chunk does";
    ::inflateEnd(&stream);
    GRADWIND_CHECK(status == Z_STREAM_END && produced == out.size(), DataError,
                   "[zarr] {}: zlib gave {} of {} bytes: {}; the chunk is damaged", name, produced, out.size(), reason);
}

void decode_whole(const ChunkFile& file, const ArrayMetadata& meta, DecodeScratch& scratch, DecodedChunk& out)
{
    const auto in = read_whole(file, meta, scratch);
    const std::span<std::byte> plain(scratch.decoded.allocate(size_t(meta.chunk_bytes())), size_t(meta.chunk_bytes()));
    if (meta.codec == Codec::Zstd) {
        const auto got = ::ZSTD_decompressDCtx(scratch.zstd(), plain.data(), plain.size(), in.data(), in.size());
        GRADWIND_CHECK(!::ZSTD_isError(got) && got == plain.size(), DataError,
                       "[zarr] {}: zstd did not give the {} bytes expected ({}); the chunk is damaged", file.name(),
                       plain.size(), ::ZSTD_isError(got) ? ::ZSTD_getErrorName(got) : "another size");
    } else {
        inflate_all(in, plain, file.name());
    }
    out.block_elements = std::max<int64_t>(out.elements, 1);
    out.blocks.assign(1, plain.data());
}

} // namespace

} // namespace detail

void decode_chunk(const std::filesystem::path& path, const ArrayMetadata& meta, std::span<const ElementRange> needed,
                  DecodeScratch& scratch, DecodedChunk& out)
{
    const detail::ChunkFile file(path);
    out.absent = !file.exists();
    out.layout = BlockLayout::Plain;
    out.elements = meta.chunk_elements();
    out.block_elements = std::max<int64_t>(out.elements, 1);
    out.blocks.clear();
    out.decoded_bytes = 0;
    if (out.absent)
        return;
    if (meta.codec == Codec::Blosc)
        detail::decode_blosc(file, meta, needed, scratch, out);
    else if (meta.codec == Codec::None)
        detail::decode_raw(file, meta, needed, scratch, out);
    else
        detail::decode_whole(file, meta, scratch, out);
    for (size_t block = 0; block < out.blocks.size(); ++block)
        if (out.blocks[block])
            out.decoded_bytes += out.elements_of(int64_t(block)) * size_of(meta.type);
}

} // namespace gradwind::data
