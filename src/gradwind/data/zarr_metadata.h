// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The `.zarray` of a zarr v2 array, checked.
#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace gradwind::data
{

/// Element types of arrays that can be read, all little-endian.
enum class ElementType { F16, F32, F64, I8, I16, I32, I64, U8, U16, U32, U64, Time };

[[nodiscard]] int64_t size_of(ElementType type);
[[nodiscard]] const char* name_of(ElementType type);

enum class Codec { None, Zlib, Gzip, Zstd, Blosc };

/// Largest uncompressed chunk that is read; also the limit of blosc.
inline constexpr int64_t kMaxChunkBytes = (int64_t(1) << 31) - 1;

/// Shape, chunks and encoding of one array.
struct ArrayMetadata {
    std::vector<int64_t> shape;
    std::vector<int64_t> chunks;
    ElementType type = ElementType::F32;
    int64_t ticks_per_second = 1; ///< of Time elements; below 1 s the stored unit is finer
    int64_t seconds_per_tick = 1; ///< of Time elements; above 1 s the stored unit is coarser
    Codec codec = Codec::None;
    std::string codec_text;     ///< the compressor in words, "blosc lz4 level 5 byte shuffle"
    std::optional<double> fill; ///< value of absent chunks; nothing where the store leaves it undefined
    char separator = '.';       ///< between the indices in a chunk's file name

    [[nodiscard]] int64_t chunk_elements() const;
    [[nodiscard]] int64_t chunk_bytes() const { return chunk_elements() * size_of(type); }
    [[nodiscard]] int64_t elements() const;
};

/// Reads a JSON file. @throws DataError naming the file, if it is absent, unreadable or not JSON
[[nodiscard]] nlohmann::json read_json(const std::filesystem::path& path);

/// Reads and checks `folder/.zarray` (spec §14.1).
///
/// Every size is checked against overflow and kMaxChunkBytes, so that later arithmetic on them is safe.
/// @throws DataError naming the file and what is damaged or not supported (big-endian, Fortran order, filters, other
/// codecs)
[[nodiscard]] ArrayMetadata read_array_metadata(const std::filesystem::path& folder);

} // namespace gradwind::data
