// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Small stores with known values, written by hand so that the reader is not tested against our own writer.
#pragma once
#include "gradwind/core/datetime.h"

#include <blosc.h>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

namespace gradwind::data
{

/// Where a test may write; emptied first.
inline std::filesystem::path scratch_folder(const std::string& name)
{
    const auto path = std::filesystem::temp_directory_path() / ("gradwind-" + name + "-" + std::to_string(::getpid()));
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
    return path;
}

/// A folder for one test, removed at its end.
class ScratchFolder
{
public:
    explicit ScratchFolder(const std::string& name) : path_(scratch_folder(name)) {}
    ~ScratchFolder()
    {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    ScratchFolder(const ScratchFolder&) = delete;
    ScratchFolder& operator=(const ScratchFolder&) = delete;
    [[nodiscard]] std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

private:
    std::filesystem::path path_;
};

inline void write_text(const std::filesystem::path& path, const std::string& text)
{
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
}

inline std::string read_text(const std::filesystem::path& path)
{
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

struct TinyStore {
    std::vector<int64_t> shape = {6, 5, 2, 77};
    std::vector<int64_t> chunks = {2, 5, 1, 77};
    nlohmann::json compressor = {{"id", "blosc"}, {"cname", "lz4"}, {"clevel", 5}, {"shuffle", 1}, {"blocksize", 1024}};
    std::vector<int64_t> missing; ///< positions; their chunks are written all the same
    std::vector<int64_t> field_shape = {7, 11};

    /// Differs everywhere, and in all bytes.
    static float value(int64_t date, int64_t variable, int64_t member, int64_t cell)
    {
        return float(date * 1000 + variable * 100 + member * 50) + float(cell) / 7.0f;
    }
    static int64_t date(int64_t position) { return 820540800 + position * 21600; }

    void write(const std::filesystem::path& path) const
    {
        write_text(path / ".zgroup", R"({"zarr_format": 2})");
        write_attributes(path);
        std::vector<double> latitudes, longitudes, line;
        for (int64_t cell = 0; cell < shape[3]; ++cell) {
            latitudes.push_back(60.0 - double(cell / 11));
            longitudes.push_back(-20.0 + double(cell % 11));
        }
        write_line(path / "latitudes", "<f8", latitudes);
        write_line(path / "longitudes", "<f8", longitudes);
        for (const auto* name :
             {"mean", "stdev", "minimum", "maximum", "statistics_tendencies_6h_mean", "statistics_tendencies_6h_stdev",
              "statistics_tendencies_6h_minimum", "statistics_tendencies_6h_maximum"}) {
            line.push_back(double(line.size()) + 0.5);
            write_line(path / name, "<f8", std::vector<double>(size_t(shape[1]), line.back()));
        }
        std::vector<int64_t> dates;
        for (int64_t i = 0; i < shape[0]; ++i)
            dates.push_back(date(i));
        write_line(path / "dates", "<M8[s]", dates);
        write_data(path / "data");
    }

    void write_attributes(const std::filesystem::path& path) const
    {
        nlohmann::json attributes = {{"frequency", "6h"},
                                     {"resolution", nullptr},
                                     {"field_shape", field_shape},
                                     {"version", "0.22"},
                                     {"missing_dates", nlohmann::json::array()}};
        for (int64_t i = 0; i < shape[1]; ++i)
            attributes["variables"].push_back("v" + std::to_string(i));
        attributes["constant_fields"] = {"v1"};
        attributes["variables_metadata"]["v1"] = {{"units", "K"}};
        for (const auto position : missing)
            attributes["missing_dates"].push_back(format_datetime(date(position)));
        write_text(path / ".zattrs", attributes.dump(1));
    }

    template <class T>
    void write_line(const std::filesystem::path& folder, const std::string& dtype, const std::vector<T>& values) const
    {
        write_metadata(folder, dtype, {int64_t(values.size())}, {int64_t(values.size())}, 0);
        write_text(folder / "0",
                   encode({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)}, sizeof(T)));
    }

    void write_metadata(const std::filesystem::path& folder, const std::string& dtype, const std::vector<int64_t>& size,
                        const std::vector<int64_t>& chunk, const nlohmann::json& fill) const
    {
        const nlohmann::json meta = {
            {"zarr_format", 2}, {"shape", size},      {"chunks", chunk},    {"dtype", dtype},
            {"order", "C"},     {"fill_value", fill}, {"filters", nullptr}, {"compressor", compressor}};
        write_text(folder / ".zarray", meta.dump(1));
    }

    void write_data(const std::filesystem::path& folder) const
    {
        write_metadata(folder, "<f4", shape, chunks, "NaN");
        std::vector<int64_t> count(4), index(4);
        for (size_t axis = 0; axis < 4; ++axis)
            count[axis] = (shape[axis] + chunks[axis] - 1) / chunks[axis];
        for (index[0] = 0; index[0] < count[0]; ++index[0])
            for (index[1] = 0; index[1] < count[1]; ++index[1])
                for (index[2] = 0; index[2] < count[2]; ++index[2])
                    for (index[3] = 0; index[3] < count[3]; ++index[3]) {
                        const auto name = std::to_string(index[0]) + "." + std::to_string(index[1]) + "." +
                                          std::to_string(index[2]) + "." + std::to_string(index[3]);
                        write_text(folder / name, encode(chunk_bytes(index), 4));
                    }
    }

    [[nodiscard]] std::string chunk_bytes(const std::vector<int64_t>& index) const
    {
        std::vector<float> values;
        for (int64_t d = 0; d < chunks[0]; ++d)
            for (int64_t v = 0; v < chunks[1]; ++v)
                for (int64_t m = 0; m < chunks[2]; ++m)
                    for (int64_t c = 0; c < chunks[3]; ++c)
                        values.push_back(value(index[0] * chunks[0] + d, index[1] * chunks[1] + v,
                                               index[2] * chunks[2] + m, index[3] * chunks[3] + c));
        return {reinterpret_cast<const char*>(values.data()), values.size() * 4};
    }

    [[nodiscard]] std::string encode(const std::string& bytes, size_t width) const
    {
        if (compressor.is_null())
            return bytes;
        std::string out(bytes.size() * 2 + 1024, '\0');
        size_t size = 0;
        if (compressor["id"] == "blosc") {
            size = size_t(::blosc_compress_ctx(
                compressor["clevel"], compressor["shuffle"], width, bytes.size(), bytes.data(), out.data(), out.size(),
                compressor["cname"].get<std::string>().c_str(), compressor["blocksize"], 1));
        } else if (compressor["id"] == "zstd") {
            size = ::ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), 1);
        } else {
            uLongf length = out.size();
            ::compress2(reinterpret_cast<Bytef*>(out.data()), &length, reinterpret_cast<const Bytef*>(bytes.data()),
                        bytes.size(), 1);
            size = length;
        }
        out.resize(size);
        return out;
    }
};

} // namespace gradwind::data
