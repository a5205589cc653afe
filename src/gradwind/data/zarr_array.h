// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// One zarr v2 array on disk.
#pragma once
#include "gradwind/data/codec.h"

#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace gradwind::data
{

/// An array whose metadata were read and checked once; reading chunks of it needs no more metadata. Thread-safe.
class ZarrArray
{
public:
    /// @throws DataError as read_array_metadata()
    explicit ZarrArray(std::filesystem::path folder);
    [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }
    [[nodiscard]] const ArrayMetadata& meta() const { return meta_; }
    [[nodiscard]] std::filesystem::path chunk_file(std::span<const int64_t> chunk) const;

    /// All values of a one-dimensional array of `count` numbers.
    /// @throws DataError for another shape, and as decode_chunk()
    [[nodiscard]] std::vector<double> values(int64_t count) const;
    /// All values of a one-dimensional array of dates, in seconds since 1970. @throws DataError for other types
    [[nodiscard]] std::vector<int64_t> dates() const;

private:
    template <class T>
    [[nodiscard]] std::vector<T> read_line() const;

    std::filesystem::path folder_;
    ArrayMetadata meta_;
};

/// Calls with a value of the element's C++ type; ElementType::Time as int64_t, F16 as Half.
struct Half {
    uint16_t bits;
    explicit operator float() const;
    explicit operator double() const { return double(float(*this)); }
};

template <class F>
decltype(auto) with_type(ElementType type, F&& f)
{
    switch (type) {
    case ElementType::F16:
        return f(Half{});
    case ElementType::F32:
        return f(float{});
    case ElementType::F64:
        return f(double{});
    case ElementType::I8:
        return f(int8_t{});
    case ElementType::I16:
        return f(int16_t{});
    case ElementType::I32:
        return f(int32_t{});
    case ElementType::U8:
        return f(uint8_t{});
    case ElementType::U16:
        return f(uint16_t{});
    case ElementType::U32:
        return f(uint32_t{});
    case ElementType::U64:
        return f(uint64_t{});
    default:
        return f(int64_t{});
    }
}

} // namespace gradwind::data
