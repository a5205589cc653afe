// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/data/zarr_array.h"

#include "gradwind/core/error.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace gradwind::data
{

namespace
{

template <class T>
T fill_of(const ArrayMetadata& meta, const std::filesystem::path& folder)
{
    GRADWIND_CHECK(meta.fill && (std::is_floating_point_v<T> || std::isfinite(*meta.fill)), DataError,
                   "[zarr] {}: a chunk is absent and there is no fill_value for it; the store is incomplete",
                   folder.string());
    return T(*meta.fill);
}

} // namespace

Half::operator float() const
{
    const uint32_t sign = uint32_t(bits & 0x8000u) << 16;
    const uint32_t exponent = (bits >> 10) & 0x1fu;
    const uint32_t mantissa = bits & 0x3ffu;
    if (exponent == 31)
        return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
    if (exponent != 0)
        return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
    const float small = std::ldexp(float(mantissa), -24);
    return sign ? -small : small;
}

ZarrArray::ZarrArray(std::filesystem::path folder) : folder_(std::move(folder)), meta_(read_array_metadata(folder_)) {}

std::filesystem::path ZarrArray::chunk_file(std::span<const int64_t> chunk) const
{
    std::string name;
    for (const auto index : chunk) {
        if (!name.empty())
            name += meta_.separator;
        name += std::to_string(index);
    }
    return folder_ / name;
}

template <class T>
std::vector<T> ZarrArray::read_line() const
{
    GRADWIND_CHECK(meta_.shape.size() == 1, DataError, "[zarr] {}: expected one dimension, found {}", folder_.string(),
                   meta_.shape.size());
    const auto count = meta_.shape[0], length = meta_.chunks[0];
    DecodeScratch scratch;
    DecodedChunk chunk;
    std::vector<T> out(static_cast<size_t>(count));
    for (int64_t begin = 0, index = 0; begin < count; begin += length, ++index) {
        const auto n = std::min(length, count - begin);
        const ElementRange all{0, n};
        decode_chunk(chunk_file({&index, 1}), meta_, {&all, 1}, scratch, chunk);
        if (chunk.absent)
            std::fill_n(out.begin() + begin, n, fill_of<T>(meta_, folder_));
        for (int64_t block = 0; block * chunk.block_elements < n && !chunk.absent; ++block) {
            const auto first = block * chunk.block_elements;
            const auto in_block = chunk.elements_of(block);
            const auto* bytes = chunk.blocks[size_t(block)];
            with_type(meta_.type, [&](auto tag) {
                using Stored = decltype(tag);
                for (int64_t i = 0; i < std::min(in_block, n - first); ++i) {
                    std::byte raw[sizeof(Stored)];
                    for (size_t plane = 0; plane < sizeof(Stored); ++plane)
                        raw[plane] = chunk.layout == BlockLayout::Planes
                                         ? bytes[int64_t(plane) * in_block + i]
                                         : bytes[i * int64_t(sizeof(Stored)) + int64_t(plane)];
                    Stored value;
                    std::memcpy(&value, raw, sizeof(value));
                    if constexpr (std::is_same_v<Stored, Half>)
                        out[size_t(begin + first + i)] = T(float(value));
                    else
                        out[size_t(begin + first + i)] = static_cast<T>(value);
                }
            });
        }
        scratch.decoded.reset();
    }
    return out;
}

std::vector<double> ZarrArray::values(int64_t count) const
{
    GRADWIND_CHECK(meta_.type != ElementType::Time, DataError, "[zarr] {}: holds dates, numbers were expected",
                   folder_.string());
    GRADWIND_CHECK(meta_.shape == std::vector<int64_t>{count}, DataError,
                   "[zarr] {}: expected {} values in one dimension, found shape [{}]", folder_.string(), count,
                   fmt::join(meta_.shape, ", "));
    return read_line<double>();
}

std::vector<int64_t> ZarrArray::dates() const
{
    GRADWIND_CHECK(meta_.type == ElementType::Time, DataError, "[zarr] {}: expected dates (<M8[s]), found {}",
                   folder_.string(), name_of(meta_.type));
    // About the years 1 to 9999: beyond them dates have no text.
    constexpr int64_t kEarliest = -62135596800, kLatest = 253402300799;
    auto out = read_line<int64_t>();
    for (auto& date : out) {
        const bool whole = date % meta_.ticks_per_second == 0;
        const auto seconds = date / meta_.ticks_per_second;
        GRADWIND_CHECK(
            whole && seconds >= kEarliest / meta_.seconds_per_tick && seconds <= kLatest / meta_.seconds_per_tick,
            DataError, "[zarr] {}: {} is not a date in whole seconds; the store is damaged", folder_.string(), date);
        date = seconds * meta_.seconds_per_tick;
    }
    return out;
}

} // namespace gradwind::data
