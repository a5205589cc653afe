// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Writes zarr v2 groups as anemoi-datasets does (spec §14.1, §14.2).
#pragma once
#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace gradwind::data
{

enum class ZarrType { Float32, Float64, DateSeconds };

/// One array of a group. Chunks are compressed with Blosc (lz4, level 5, byte shuffle).
struct ArraySpec {
    enum class Fill { Zero, NaN };

    std::string name;
    ZarrType type = ZarrType::Float64;
    std::vector<int64_t> shape;
    std::vector<int64_t> chunks; ///< empty: one chunk
    std::vector<std::string> dimensions;
    Fill fill = Fill::Zero;
};

/// A zarr v2 group under construction: it grows in a hidden folder beside its final place and appears there only at
/// commit(), complete. An instance that goes away uncommitted removes what it wrote.
class ZarrWriter
{
public:
    enum class Existing { Refuse, Overwrite };

    /// @throws DataError if something is at `target` (Existing::Refuse; or what is there is no zarr group), or if its
    /// folder cannot be written
    ZarrWriter(std::filesystem::path target, Existing existing);
    ~ZarrWriter();
    ZarrWriter(const ZarrWriter&) = delete;
    ZarrWriter& operator=(const ZarrWriter&) = delete;

    void add_array(const ArraySpec& array);
    /// Adds an array and writes all of it as one chunk.
    void write_whole(const ArraySpec& array, std::span<const double> values);
    void write_whole(const ArraySpec& array, std::span<const float> values);
    void write_whole(const ArraySpec& array, std::span<const int64_t> values);

    /// Writes rows [first_row, first_row + values.size() / row size) of a Float32 array, C order. first_row is a
    /// multiple of the first chunk length and the rows end at a chunk's end or at the array's.
    void write_rows(const std::string& name, int64_t first_row, std::span<const float> values);
    /// Reads back rows of chunks that write_rows() wrote; the same alignment holds.
    void read_rows(const std::string& name, int64_t first_row, std::span<float> values) const;

    void set_attributes(const nlohmann::json& attributes);

    /// Files and bytes written so far.
    struct Size {
        int64_t files = 0;
        int64_t bytes = 0;
    };
    [[nodiscard]] Size size() const { return size_; }

    /// Syncs, then puts the group in its place; replaces what is there under Existing::Overwrite.
    void commit();

private:
    void write_file(const std::string& relative, std::span<const std::byte> bytes);
    void write_json(const std::string& relative, const nlohmann::json& json);
    void write_chunk(const std::string& relative, std::span<const std::byte> raw, size_t type_size);
    template <class T>
    void write_one_chunk(const ArraySpec& array, std::span<const T> values);
    [[nodiscard]] const ArraySpec& array(const std::string& name) const;

    std::filesystem::path target_;
    std::filesystem::path folder_;
    Existing existing_;
    std::map<std::string, ArraySpec> arrays_;
    std::vector<std::byte> compressed_;
    Size size_;
};

} // namespace gradwind::data
