// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/data/zarr_writer.h"

#include "gradwind/core/error.h"
#include "tests/data/zarr_check.h"

#include <csignal>
#include <fstream>
#include <gtest/gtest.h>
#include <numeric>
#include <sys/resource.h>

namespace gradwind::data
{
namespace
{

namespace fs = std::filesystem;
using testing::read_json;
using testing::TempFolder;
using testing::ZarrCheck;
using Existing = ZarrWriter::Existing;

constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();

ArraySpec data_array(std::vector<int64_t> shape, std::vector<int64_t> chunks)
{
    return {"data",
            ZarrType::Float32,
            std::move(shape),
            std::move(chunks),
            {"time", "variable", "ensemble", "cell"},
            ArraySpec::Fill::NaN};
}

std::vector<float> count_up(size_t size)
{
    std::vector<float> out(size);
    std::iota(out.begin(), out.end(), 1.0F);
    return out;
}

int64_t entries(const fs::path& folder)
{
    return std::distance(fs::directory_iterator(folder), {});
}

class Layouts : public ::testing::TestWithParam<std::vector<int64_t>>
{
};

TEST_P(Layouts, WhatIsWrittenByChunksReadsBackWhole)
{
    const TempFolder folder;
    const std::vector<int64_t> shape = {7, 5, 3, 11};
    const auto values = count_up(7 * 5 * 3 * 11);
    const auto row = values.size() / 7;
    ZarrWriter writer(folder.path / "a.zarr", Existing::Refuse);
    writer.add_array(data_array(shape, GetParam()));
    for (int64_t first = 0; first < 7; first += GetParam()[0]) {
        const auto rows = size_t(std::min<int64_t>(GetParam()[0], 7 - first));
        const auto block = std::span(values).subspan(size_t(first) * row, rows * row);
        writer.write_rows("data", first, block);
        std::vector<float> back(block.size());
        writer.read_rows("data", first, back);
        EXPECT_TRUE(std::ranges::equal(back, block)) << first;
    }
    writer.commit();
    const ZarrCheck<float> check(folder.path / "a.zarr" / "data", nan_value);
    EXPECT_EQ(check.values, values);
    EXPECT_EQ(check.absent_chunks, 0);
    EXPECT_EQ(entries(folder.path), 1);
}

INSTANTIATE_TEST_SUITE_P(Chunks, Layouts,
                         ::testing::Values(std::vector<int64_t>{1, 5, 3, 11}, std::vector<int64_t>{1, 5, 1, 11},
                                           std::vector<int64_t>{2, 5, 1, 4}, std::vector<int64_t>{7, 2, 2, 11},
                                           std::vector<int64_t>{3, 1, 3, 1}, std::vector<int64_t>{7, 5, 3, 11}));

TEST(ZarrWriter, MetadataIsThatOfTheOriginal)
{
    const TempFolder folder;
    ZarrWriter writer(folder.path / "a.zarr", Existing::Refuse);
    writer.add_array(data_array({4, 2, 1, 3}, {1, 2, 1, 3}));
    writer.write_whole({"dates", ZarrType::DateSeconds, {2}, {}, {"time"}},
                       std::span<const int64_t>(std::vector<int64_t>{5, 6}));
    writer.write_whole({"mean", ZarrType::Float64, {2}, {}, {"variable"}},
                       std::span<const double>(std::vector<double>{1, 2}));
    writer.set_attributes({{"b", 1}, {"a", 2}});
    writer.commit();
    const auto store = folder.path / "a.zarr";
    const auto array = read_json(store / "data" / ".zarray");
    EXPECT_EQ(array.at("fill_value"), "NaN");
    EXPECT_EQ(array.at("compressor").dump(), R"({"blocksize":0,"clevel":5,"cname":"lz4","id":"blosc","shuffle":1})");
    EXPECT_FALSE(array.contains("dimension_separator"));
    EXPECT_EQ(read_json(store / "dates" / ".zarray").at("dtype"), "<M8[s]");
    EXPECT_EQ(read_json(store / "dates" / ".zarray").at("fill_value").dump(), "0");
    EXPECT_EQ(read_json(store / "mean" / ".zarray").at("fill_value").dump(), "0.0");
    EXPECT_EQ(read_json(store / "data" / ".zattrs").at("_ARRAY_DIMENSIONS").dump(),
              R"(["time","variable","ensemble","cell"])");
    EXPECT_EQ(ZarrCheck<float>(store / "data", nan_value).absent_chunks, 4);
    EXPECT_EQ(ZarrCheck<int64_t>(store / "dates", 0).values, (std::vector<int64_t>{5, 6}));
}

TEST(ZarrWriter, LeavesNothingUnlessCommitted)
{
    const TempFolder folder;
    {
        ZarrWriter writer(folder.path / "a.zarr", Existing::Refuse);
        writer.add_array(data_array({1, 1, 1, 3}, {1, 1, 1, 3}));
        EXPECT_FALSE(fs::exists(folder.path / "a.zarr"));
    }
    EXPECT_EQ(entries(folder.path), 0);
}

TEST(ZarrWriter, RefusesOrReplacesWhatIsThere)
{
    const TempFolder folder;
    const auto store = folder.path / "a.zarr";
    const auto write = [&](float value, Existing existing) {
        ZarrWriter writer(store, existing);
        writer.add_array(data_array({1, 1, 1, 1}, {1, 1, 1, 1}));
        writer.write_rows("data", 0, std::vector<float>{value});
        writer.commit();
    };
    write(1, Existing::Refuse);
    EXPECT_THROW(write(2, Existing::Refuse), DataError);
    EXPECT_EQ(ZarrCheck<float>(store / "data", 0).values[0], 1);
    write(3, Existing::Overwrite);
    EXPECT_EQ(ZarrCheck<float>(store / "data", 0).values[0], 3);
    // A store under construction that fails leaves the old one.
    {
        ZarrWriter abandoned(store, Existing::Overwrite);
    }
    EXPECT_EQ(ZarrCheck<float>(store / "data", 0).values[0], 3);
    EXPECT_EQ(entries(folder.path), 1);
    // Only zarr groups are replaced.
    fs::create_directory(folder.path / "precious");
    EXPECT_THROW(ZarrWriter(folder.path / "precious", Existing::Overwrite), DataError);
}

TEST(ZarrWriter, AFullDiskIsOneErrorAndLeavesNothing)
{
    const TempFolder folder;
    rlimit old = {};
    ::getrlimit(RLIMIT_FSIZE, &old);
    auto* handler = std::signal(SIGXFSZ, SIG_IGN);
    const rlimit small = {4096, old.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &small);
    std::string message;
    try {
        ZarrWriter writer(folder.path / "a.zarr", Existing::Refuse);
        writer.add_array(data_array({1, 1, 1, 100000}, {1, 1, 1, 100000}));
        auto values = count_up(100000);
        for (size_t i = 0; i < values.size(); ++i)
            values[i] = float(i * 2654435761U % 1000003U);
        writer.write_rows("data", 0, values);
    } catch (const DataError& error) {
        message = error.what();
    }
    ::setrlimit(RLIMIT_FSIZE, &old);
    std::signal(SIGXFSZ, handler);
    EXPECT_NE(message.find("File too large"), std::string::npos) << message;
    EXPECT_EQ(entries(folder.path), 0);
}

} // namespace
} // namespace gradwind::data
