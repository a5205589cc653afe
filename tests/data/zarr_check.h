// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Reads zarr v2 arrays in the plainest way, so that tests of the writer need no reader of the library.
#pragma once
#include <blosc.h>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <openssl/sha.h>
#include <stdexcept>
#include <string>
#include <vector>

namespace gradwind::data::testing
{

inline std::string slurp(const std::filesystem::path& path)
{
    std::ifstream in(path, std::ios::binary);
    if (!in)
        throw std::runtime_error("cannot read " + path.string());
    return {std::istreambuf_iterator<char>(in), {}};
}

inline nlohmann::json read_json(const std::filesystem::path& path)
{
    return nlohmann::json::parse(slurp(path));
}

/// A whole array of 4- or 8-byte elements; T has the size of one. Absent chunks are filled with `fill`.
template <class T>
struct ZarrCheck {
    std::vector<int64_t> shape;
    std::vector<int64_t> chunks;
    std::string dtype;
    std::vector<T> values;
    int64_t absent_chunks = 0;

    ZarrCheck(const std::filesystem::path& folder, T fill)
    {
        const auto meta = read_json(folder / ".zarray");
        shape = meta.at("shape").get<std::vector<int64_t>>();
        chunks = meta.at("chunks").get<std::vector<int64_t>>();
        dtype = meta.at("dtype").get<std::string>();
        int64_t size = 1;
        int64_t chunk_size = 1;
        for (size_t i = 0; i < shape.size(); ++i) {
            size *= shape[i];
            chunk_size *= chunks[i];
        }
        values.assign(size_t(size), fill);
        std::vector<T> chunk(static_cast<size_t>(chunk_size));
        std::vector<int64_t> index(shape.size(), 0);
        do {
            std::string name;
            for (const auto i : index)
                name += (name.empty() ? "" : ".") + std::to_string(i);
            if (!std::filesystem::exists(folder / name)) {
                ++absent_chunks;
                continue;
            }
            const auto bytes = slurp(folder / name);
            if (blosc_decompress_ctx(bytes.data(), chunk.data(), chunk.size() * sizeof(T), 1) !=
                int(chunk.size() * sizeof(T)))
                throw std::runtime_error("bad chunk " + name);
            place(chunk, index);
        } while (next(index));
    }

private:
    bool next(std::vector<int64_t>& index) const
    {
        for (size_t axis = shape.size(); axis-- > 0;) {
            if (++index[axis] * chunks[axis] < shape[axis])
                return true;
            index[axis] = 0;
        }
        return false;
    }

    void place(const std::vector<T>& chunk, const std::vector<int64_t>& index)
    {
        for (int64_t i = 0; i < int64_t(chunk.size()); ++i) {
            int64_t rest = i;
            int64_t offset = 0;
            int64_t stride = 1;
            bool inside = true;
            for (size_t axis = shape.size(); axis-- > 0;) {
                const auto at = index[axis] * chunks[axis] + rest % chunks[axis];
                rest /= chunks[axis];
                inside = inside && at < shape[axis];
                offset += at * stride;
                stride *= shape[axis];
            }
            if (inside)
                values[size_t(offset)] = chunk[size_t(i)];
        }
    }
};

/// SHA-256 of single-precision values as little-endian bytes, every NaN written as 0x7fc00000.
inline std::string sha256(const std::vector<float>& values)
{
    std::vector<uint32_t> bits(values.size());
    for (size_t i = 0; i < values.size(); ++i) {
        bits[i] = 0x7fc00000U;
        if (!std::isnan(values[i]))
            std::memcpy(&bits[i], &values[i], sizeof(float));
    }
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256(reinterpret_cast<const unsigned char*>(bits.data()), bits.size() * sizeof(uint32_t), digest);
    std::string out;
    for (const auto byte : digest) {
        out += "0123456789abcdef"[byte >> 4U];
        out += "0123456789abcdef"[byte & 15U];
    }
    return out;
}

/// A folder of its own that goes away with the object.
class TempFolder
{
public:
    TempFolder()
    {
        auto pattern = (std::filesystem::temp_directory_path() / "gradwind-create-XXXXXX").string();
        path = ::mkdtemp(pattern.data());
    }
    ~TempFolder()
    {
        std::error_code ignored;
        std::filesystem::remove_all(path, ignored);
    }
    TempFolder(const TempFolder&) = delete;
    TempFolder& operator=(const TempFolder&) = delete;

    std::filesystem::path path;
};

} // namespace gradwind::data::testing
