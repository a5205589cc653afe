// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/grid/npz.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <span>
#include <zlib.h>

#include "gradwind/core/error.h"

namespace gradwind::grid
{

namespace
{

static_assert(std::endian::native == std::endian::little, "arrays are read in the byte order of the file");

/// A zip archive in memory; every access is checked against its end.
class Archive
{
public:
    Archive(std::filesystem::path path, std::string bytes) : path_(std::move(path)), bytes_(std::move(bytes)) {}

    [[noreturn]] void fail(const std::string& what) const
    {
        throw DataError(
            fmt::format("[grid] {}: {}; expected an .npz archive as numpy.savez writes it", path_.string(), what));
    }

    template <class T>
    [[nodiscard]] T number(size_t at) const
    {
        if (at > bytes_.size() || sizeof(T) > bytes_.size() - at)
            fail("the archive ends early");
        T value;
        std::memcpy(&value, bytes_.data() + at, sizeof(T));
        return value;
    }

    [[nodiscard]] std::span<const char> range(size_t at, size_t size) const
    {
        if (at > bytes_.size() || size > bytes_.size() - at)
            fail("the archive ends early");
        return std::span(bytes_).subspan(at, size);
    }

    /// The bytes of a member, decompressed.
    [[nodiscard]] std::string member(const std::string& name) const
    {
        constexpr uint32_t kDirectoryEntry = 0x02014b50;
        const size_t end = bytes_.rfind("PK\x05\x06");
        if (end == std::string::npos)
            fail("it has no zip directory");
        const auto n_entries = number<uint16_t>(end + 10);
        size_t at = number<uint32_t>(end + 16);
        std::string others;
        for (int entry = 0; entry < n_entries; ++entry) {
            if (number<uint32_t>(at) != kDirectoryEntry)
                fail("its zip directory is damaged");
            const auto name_size = number<uint16_t>(at + 28);
            const std::span<const char> entry_name = range(at + 46, name_size);
            if (std::string(entry_name.begin(), entry_name.end()) == name)
                return unpack(number<uint16_t>(at + 10), number<uint32_t>(at + 20), number<uint32_t>(at + 24),
                              number<uint32_t>(at + 42));
            others += " " + std::string(entry_name.begin(), entry_name.end());
            at += 46u + name_size + number<uint16_t>(at + 30) + number<uint16_t>(at + 32);
        }
        fail(fmt::format("it has no {}, but{}", name, others.empty() ? " nothing" : others));
    }

private:
    [[nodiscard]] std::string unpack(uint16_t method, uint32_t packed_size, uint32_t size, size_t header) const
    {
        constexpr uint16_t kStored = 0;
        constexpr uint16_t kDeflated = 8;
        const size_t begin = header + 30u + number<uint16_t>(header + 26) + number<uint16_t>(header + 28);
        const std::span<const char> packed = range(begin, packed_size);
        if (method == kStored)
            return {packed.begin(), packed.end()};
        if (method != kDeflated)
            fail(fmt::format("compression method {} is not known", method));
        if (size / 1032 > packed_size) // beyond what deflate can reach: the size is a lie
            fail("a member's size does not fit its data");
        std::string unpacked(size, '\0');
        z_stream stream{};
        stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
        stream.avail_in = packed_size;
        stream.next_out = reinterpret_cast<Bytef*>(unpacked.data());
        stream.avail_out = size;
        GRADWIND_ASSERT(inflateInit2(&stream, -MAX_WBITS) == Z_OK);
        const int result = inflate(&stream, Z_FINISH);
        inflateEnd(&stream);
        if (result != Z_STREAM_END || stream.total_out != size)
            fail("a member cannot be decompressed");
        return unpacked;
    }

    std::filesystem::path path_;
    std::string bytes_;
};

template <class T>
std::vector<double> elements(const std::string& array, size_t begin)
{
    std::vector<T> values((array.size() - begin) / sizeof(T));
    std::memcpy(values.data(), array.data() + begin, values.size() * sizeof(T));
    return {values.begin(), values.end()};
}

} // namespace

std::vector<double> read_npz_doubles(const std::filesystem::path& path, const std::string& name)
{
    std::ifstream file(path, std::ios::binary);
    GRADWIND_CHECK(file.good(), DataError, "[grid] cannot read {}", path.string());
    const Archive archive(path, std::string(std::istreambuf_iterator<char>(file), {}));
    const std::string array = archive.member(name + ".npy");
    if (array.size() < 12 || !array.starts_with("\x93NUMPY"))
        archive.fail(fmt::format("{}.npy is no array", name));
    const bool short_header = array[6] == 1;
    uint32_t header_size = 0;
    std::memcpy(&header_size, array.data() + 8, short_header ? 2 : 4);
    const size_t begin = (short_header ? 10u : 12u) + header_size;
    if (begin > array.size())
        archive.fail(fmt::format("{}.npy ends in its header", name));
    const std::string header = array.substr(10, begin - 10);
    if (header.find("<f8") != std::string::npos)
        return elements<double>(array, begin);
    if (header.find("<f4") != std::string::npos)
        return elements<float>(array, begin);
    if (header.find("<i4") != std::string::npos)
        return elements<int32_t>(array, begin);
    if (header.find("<i8") != std::string::npos)
        return elements<int64_t>(array, begin);
    archive.fail(fmt::format("{}.npy is neither float32, float64, int32 nor int64", name));
}

} // namespace gradwind::grid
