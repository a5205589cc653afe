// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/data/zarr_metadata.h"

#include "gradwind/core/error.h"

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

namespace gradwind::data
{

namespace
{

using nlohmann::json;
namespace fs = std::filesystem;

/// Metadata larger than this is not metadata.
constexpr uintmax_t kMaxMetadataBytes = uintmax_t(256) << 20;

int64_t product(const std::vector<int64_t>& sizes)
{
    int64_t total = 1;
    for (const auto size : sizes)
        total *= size;
    return total;
}

[[noreturn]] void unsupported(const fs::path& file, const std::string& what, const std::string& readable)
{
    throw DataError(fmt::format("[zarr] {}: {} is not supported; readable are {}. Rewrite the store with one of these.",
                                file.string(), what, readable));
}

const json& member(const json& object, const char* key, const fs::path& file)
{
    const auto found = object.find(key);
    GRADWIND_CHECK(found != object.end(), DataError, "[zarr] {}: the key `{}` is missing", file.string(), key);
    return *found;
}

std::vector<int64_t> sizes_of(const json& meta, const char* key, int64_t least, const fs::path& file)
{
    const auto& list = member(meta, key, file);
    GRADWIND_CHECK(list.is_array() && !list.empty() && list.size() <= 8, DataError,
                   "[zarr] {}: `{}` must be a list of 1 to 8 sizes, found {}", file.string(), key, list.dump());
    std::vector<int64_t> sizes;
    int64_t total = 1;
    for (const auto& item : list) {
        GRADWIND_CHECK(item.is_number_integer() && (!item.is_number_unsigned() || item.get<uint64_t>() < (1ull << 62)),
                       DataError, "[zarr] {}: `{}` must hold integers, found {}", file.string(), key, item.dump());
        const auto size = item.get<int64_t>();
        GRADWIND_CHECK(size >= least, DataError, "[zarr] {}: a size in `{}` is {}, expected at least {}", file.string(),
                       key, size, least);
        // Eight bytes an element at most: the byte count must fit as well.
        GRADWIND_CHECK(!__builtin_mul_overflow(total, std::max<int64_t>(size, 1), &total) &&
                           total <= std::numeric_limits<int64_t>::max() / 8,
                       DataError, "[zarr] {}: `{}` {} is too large to be real", file.string(), key, list.dump());
        sizes.push_back(size);
    }
    return sizes;
}

void parse_time_unit(const std::string& dtype, const fs::path& file, ArrayMetadata& meta)
{
    const auto unit = dtype.substr(3);
    if (unit == "[D]")
        meta.seconds_per_tick = 86400;
    else if (unit == "[h]")
        meta.seconds_per_tick = 3600;
    else if (unit == "[m]")
        meta.seconds_per_tick = 60;
    else if (unit == "[ms]")
        meta.ticks_per_second = 1000;
    else if (unit == "[us]")
        meta.ticks_per_second = 1000000;
    else if (unit == "[ns]")
        meta.ticks_per_second = 1000000000;
    else if (unit != "[s]")
        unsupported(file, fmt::format("the data type `{}`", dtype), "<M8 with a unit from D to ns");
}

void parse_type(const json& meta_json, const fs::path& file, ArrayMetadata& meta)
{
    const auto& dtype = member(meta_json, "dtype", file);
    const std::string readable = "<f2 <f4 <f8 <i1..8 <u1..8 <M8[s]";
    if (!dtype.is_string())
        unsupported(file, fmt::format("the data type {}", dtype.dump()), readable);
    const auto text = dtype.get<std::string>();
    static constexpr std::pair<const char*, ElementType> kTypes[] = {
        {"f2", ElementType::F16}, {"f4", ElementType::F32}, {"f8", ElementType::F64}, {"i1", ElementType::I8},
        {"i2", ElementType::I16}, {"i4", ElementType::I32}, {"i8", ElementType::I64}, {"u1", ElementType::U8},
        {"u2", ElementType::U16}, {"u4", ElementType::U32}, {"u8", ElementType::U64}};
    if (text.size() >= 3 && text[0] == '>')
        unsupported(file, fmt::format("big-endian data (`{}`)", text), readable);
    if (text.starts_with("<M8")) {
        meta.type = ElementType::Time;
        return parse_time_unit(text, file, meta);
    }
    for (const auto& [name, type] : kTypes)
        if (text == std::string("<") + name || (size_of(type) == 1 && text == std::string("|") + name)) {
            meta.type = type;
            return;
        }
    unsupported(file, fmt::format("the data type `{}`", text), readable);
}

std::string blosc_text(const json& compressor)
{
    static constexpr const char* kShuffles[] = {"no shuffle", "byte shuffle", "bit shuffle"};
    const auto shuffle = compressor.value("shuffle", json(-1));
    const bool known = shuffle.is_number_integer() && shuffle.get<int64_t>() >= 0 && shuffle.get<int64_t>() <= 2;
    return fmt::format("blosc {} level {}, {}", compressor.value("cname", json("?")).dump(),
                       compressor.value("clevel", json("?")).dump(),
                       known ? kShuffles[shuffle.get<size_t>()] : "shuffle chosen by element size");
}

void parse_codec(const json& meta_json, const fs::path& file, ArrayMetadata& meta)
{
    const auto& filters = member(meta_json, "filters", file);
    if (!filters.is_null() && !(filters.is_array() && filters.empty()))
        unsupported(file, fmt::format("the filter list {}", filters.dump()), "arrays without filters");
    const auto& compressor = member(meta_json, "compressor", file);
    meta.codec_text = "none";
    if (compressor.is_null())
        return;
    const std::string readable = "null, zlib, gzip, zstd and blosc";
    if (!compressor.is_object() || !compressor.contains("id") || !compressor["id"].is_string())
        unsupported(file, fmt::format("the compressor {}", compressor.dump()), readable);
    const auto id = compressor["id"].get<std::string>();
    static constexpr std::pair<const char*, Codec> kCodecs[] = {
        {"zlib", Codec::Zlib}, {"gzip", Codec::Gzip}, {"zstd", Codec::Zstd}, {"blosc", Codec::Blosc}};
    for (const auto& [name, codec] : kCodecs)
        if (id == name) {
            meta.codec = codec;
            meta.codec_text = codec == Codec::Blosc
                                  ? blosc_text(compressor)
                                  : fmt::format("{} level {}", id, compressor.value("level", json("?")).dump());
            std::erase(meta.codec_text, '"');
            return;
        }
    unsupported(file, fmt::format("the compressor `{}`", id), readable);
}

void parse_fill(const json& meta_json, const fs::path& file, ArrayMetadata& meta)
{
    const auto& fill = member(meta_json, "fill_value", file);
    const double infinity = std::numeric_limits<double>::infinity();
    if (fill.is_null())
        return;
    if (fill.is_number())
        meta.fill = fill.get<double>();
    else if (fill == "NaN" || fill == "NaT")
        meta.fill = std::numeric_limits<double>::quiet_NaN();
    else if (fill == "Infinity" || fill == "-Infinity")
        meta.fill = fill == "Infinity" ? infinity : -infinity;
    else
        unsupported(file, fmt::format("the fill_value {}", fill.dump()),
                    "null, numbers, \"NaN\", \"Infinity\" and \"-Infinity\"");
}

} // namespace

int64_t size_of(ElementType type)
{
    switch (type) {
    case ElementType::I8:
    case ElementType::U8:
        return 1;
    case ElementType::F16:
    case ElementType::I16:
    case ElementType::U16:
        return 2;
    case ElementType::F32:
    case ElementType::I32:
    case ElementType::U32:
        return 4;
    default:
        return 8;
    }
}

const char* name_of(ElementType type)
{
    static constexpr const char* kNames[] = {"float16", "float32", "float64", "int8",   "int16",  "int32",
                                             "int64",   "uint8",   "uint16",  "uint32", "uint64", "datetime64"};
    return kNames[size_t(type)];
}

int64_t ArrayMetadata::chunk_elements() const
{
    return product(chunks);
}

int64_t ArrayMetadata::elements() const
{
    return product(shape);
}

json read_json(const fs::path& path)
{
    std::error_code error;
    const auto bytes = fs::file_size(path, error);
    GRADWIND_CHECK(!error, DataError, "[zarr] {}: cannot be read: {}", path.string(), error.message());
    GRADWIND_CHECK(bytes <= kMaxMetadataBytes, DataError, "[zarr] {}: {} bytes are too many for metadata",
                   path.string(), bytes);
    std::ifstream in(path, std::ios::binary);
    auto parsed = json::parse(in, nullptr, false);
    GRADWIND_CHECK(!parsed.is_discarded(), DataError, "[zarr] {}: is not valid JSON; the store is damaged",
                   path.string());
    return parsed;
}

ArrayMetadata read_array_metadata(const fs::path& folder)
{
    const auto file = folder / ".zarray";
    const auto meta_json = read_json(file);
    GRADWIND_CHECK(meta_json.is_object(), DataError, "[zarr] {}: expected a JSON object", file.string());
    const auto& version = member(meta_json, "zarr_format", file);
    if (version != 2)
        unsupported(file, fmt::format("zarr_format {}", version.dump()), "stores of zarr_format 2");
    const auto& order = member(meta_json, "order", file);
    if (order != "C")
        unsupported(file, fmt::format("order {} (Fortran order)", order.dump()), "arrays in C order");
    ArrayMetadata meta;
    meta.shape = sizes_of(meta_json, "shape", 0, file);
    meta.chunks = sizes_of(meta_json, "chunks", 1, file);
    GRADWIND_CHECK(meta.shape.size() == meta.chunks.size(), DataError,
                   "[zarr] {}: `shape` has {} dimensions but `chunks` has {}", file.string(), meta.shape.size(),
                   meta.chunks.size());
    parse_type(meta_json, file, meta);
    parse_codec(meta_json, file, meta);
    parse_fill(meta_json, file, meta);
    const auto separator = meta_json.value("dimension_separator", json("."));
    if (separator != "." && separator != "/")
        unsupported(file, fmt::format("dimension_separator {}", separator.dump()), "\".\" and \"/\"");
    meta.separator = separator.get<std::string>()[0];
    GRADWIND_CHECK(meta.chunk_elements() <= kMaxChunkBytes / size_of(meta.type), DataError,
                   "[zarr] {}: a chunk of {} elements of {} bytes is larger than 2 GiB", file.string(),
                   meta.chunk_elements(), size_of(meta.type));
    return meta;
}

} // namespace gradwind::data
