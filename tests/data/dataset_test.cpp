// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/error.h"
#include "gradwind/data/cells.h"
#include "gradwind/data/dataset_dates.h"
#include "gradwind/data/decode_tally.h"
#include "gradwind/data/open_dataset.h"
#include "gradwind/data/windows.h"
#include "tests/data/tiny_store.h"

#include <gtest/gtest.h>
#include <random>
#include <set>

namespace gradwind::data
{
namespace
{

using nlohmann::json;

json blosc(const char* codec, int shuffle, int block_bytes)
{
    return {{"id", "blosc"}, {"cname", codec}, {"clevel", 5}, {"shuffle", shuffle}, {"blocksize", block_bytes}};
}

/// Every value of a request against the formula of the store.
void expect_read(const std::shared_ptr<const Dataset>& dataset, const std::vector<int64_t>& dates,
                 const CellRanges& cells, const std::vector<int64_t>& variables)
{
    const auto n_variables = int64_t(variables.size());
    std::vector<float> values(dates.size() * size_t(dataset->n_members() * cells.count() * n_variables), -1.0f);
    if (cells.parts().size() == 1)
        dataset->read(dates, cells.parts()[0], values);
    else
        select_cells(dataset, cells)->read(dates, {0, cells.count()}, values);
    size_t at = 0;
    for (const auto date : dates)
        for (int64_t member = 0; member < dataset->n_members(); ++member)
            for (const auto& part : cells.parts())
                for (auto cell = part.begin; cell < part.end; ++cell)
                    for (const auto variable : variables)
                        ASSERT_EQ(values[at++], TinyStore::value(date, variable, member, cell))
                            << "date " << date << " member " << member << " cell " << cell << " variable " << variable;
    ASSERT_EQ(at, values.size());
}

/// Up to five ranges in ascending order, empty and touching ones among them.
CellRanges random_ranges(std::mt19937& random, int64_t n_cells)
{
    std::vector<int64_t> borders;
    for (auto n = 2 * (1 + random() % 5); n > 0; --n)
        borders.push_back(int64_t(random() % uint64_t(n_cells + 1)));
    std::sort(borders.begin(), borders.end());
    std::vector<CellRange> parts;
    for (size_t i = 0; i < borders.size(); i += 2)
        parts.push_back({borders[i], borders[i + 1]});
    return CellRanges(std::move(parts));
}

TEST(Dataset, EveryChunkingAndCodecReadsEveryRange)
{
    const std::vector<std::vector<int64_t>> chunkings = {{1, 5, 2, 77}, {2, 5, 1, 77}, {6, 5, 2, 77}, {1, 1, 1, 77},
                                                         {4, 3, 2, 20}, {1, 5, 2, 1},  {5, 2, 1, 76}};
    const std::vector<json> codecs = {nullptr,
                                      {{"id", "zlib"}, {"level", 1}},
                                      {{"id", "zstd"}, {"level", 1}},
                                      blosc("lz4", 1, 0),
                                      blosc("lz4", 1, 256),
                                      blosc("lz4", 2, 512),
                                      blosc("zstd", 1, 1024),
                                      blosc("blosclz", 0, 300),
                                      blosc("zlib", 1, 4096)};
    const ScratchFolder folder("ranges");
    std::mt19937 random(7);
    for (const auto& chunks : chunkings)
        for (const auto& codec : codecs) {
            SCOPED_TRACE(json(chunks).dump() + codec.dump());
            TinyStore store;
            store.chunks = chunks;
            store.compressor = codec;
            std::filesystem::remove_all(folder / "a.zarr");
            store.write(folder / "a.zarr");
            const auto dataset = open_dataset(folder / "a.zarr");
            expect_read(dataset, {0, 1, 2, 3, 4, 5}, {0, 77}, {0, 1, 2, 3, 4});
            for (int i = 0; i < 5; ++i) {
                const auto begin = int64_t(random() % 77);
                const auto end = begin + int64_t(random() % uint64_t(78 - begin));
                expect_read(dataset, {int64_t(random() % 6), int64_t(random() % 6), 2}, {begin, end}, {0, 1, 2, 3, 4});
                expect_read(dataset, {int64_t(random() % 6), 3}, random_ranges(random, 77), {0, 1, 2, 3, 4});
            }
        }
}

TEST(Dataset, CellsThatDoNotAscendAreRefused)
{
    const ScratchFolder folder("cells");
    TinyStore().write(folder / "s.zarr");
    const auto dataset = open_dataset(folder / "s.zarr");
    for (const auto& parts :
         {std::vector<CellRange>{{5, 10}, {0, 5}}, {{0, 6}, {5, 9}}, {{-1, 9}}, {{70, 80}}, {{9, 3}, {10, 26}}})
        EXPECT_THROW((void)select_cells(dataset, CellRanges(parts)), DataError);
    EXPECT_EQ(CellRanges::of(std::vector<int64_t>{2, 3, 7, 9, 10, 11}), CellRanges({{2, 4}, {7, 8}, {9, 12}}));
    EXPECT_THROW((void)CellRanges::of(std::vector<int64_t>{2, 1}), InternalError);
}

/// Blocks (or chunks) of n elements that hold any of the cells of any variable, counted one element at a time.
int64_t blocks_with(const CellRanges& cells, int64_t n_variables, int64_t n_cells, int64_t block)
{
    std::set<int64_t> found;
    for (int64_t variable = 0; variable < n_variables; ++variable)
        for (const auto& part : cells.parts())
            for (auto cell = part.begin; cell < part.end; ++cell)
                found.insert((variable * n_cells + cell) / block);
    return int64_t(found.size());
}

TEST(Dataset, AReaderDecodesExactlyTheChunksOfItsCells)
{
    TinyStore store;
    store.shape = {3, 4, 1, 418};
    store.chunks = {1, 4, 1, 10};
    store.field_shape = {418};
    const ScratchFolder folder("shards");
    store.write(folder / "s.zarr");
    const auto dataset = open_dataset(folder / "s.zarr");
    const int64_t chunk_bytes = 4 * 10 * 4, whole = 42 * chunk_bytes;
    std::vector<CellRanges> shards = {{0, 418}, CellRanges({{3, 4}, {8, 9}, {205, 211}})};
    for (const int64_t readers : {2, 4})
        for (int64_t reader = 0; reader < readers; ++reader)
            shards.emplace_back(418 * reader / readers, 418 * (reader + 1) / readers);
    const auto tallies = decode_one_date(dataset, shards);
    for (size_t i = 0; i < shards.size(); ++i) {
        const auto chunks = blocks_with(shards[i], 1, 418, 10);
        EXPECT_EQ(tallies[i].chunks, chunks) << i;
        EXPECT_EQ(tallies[i].bytes, chunks * chunk_bytes) << i;
        if (i >= 2) {
            EXPECT_LE(double(tallies[i].bytes), (1.0 / (i < 4 ? 2 : 4) + 0.05) * double(whole)) << i;
        }
    }
    EXPECT_EQ(tallies[0].bytes, whole);
    EXPECT_EQ(tallies[1].chunks, 3);
}

TEST(Dataset, OfAWholeDateOnlyTheBlocksOfTheCellsAreDecoded)
{
    TinyStore store;
    store.shape = {2, 6, 1, 40000};
    store.chunks = {1, 6, 1, 40000};
    store.field_shape = {40000};
    const ScratchFolder folder("blocks");
    for (const auto& codec : {blosc("lz4", 1, 1024), blosc("zstd", 0, 1024), blosc("blosclz", 2, 1024)}) {
        SCOPED_TRACE(codec.dump());
        store.compressor = codec;
        std::filesystem::remove_all(folder / "b.zarr");
        store.write(folder / "b.zarr");
        store.write_line(folder / "b.zarr/latitudes", "<f8", std::vector<double>(40000, 1.0));
        store.write_line(folder / "b.zarr/longitudes", "<f8", std::vector<double>(40000, 1.0));
        const auto dataset = open_dataset(folder / "b.zarr");
        const std::vector<CellRanges> shards = {
            {0, 40000}, {10000, 20000}, CellRanges({{5, 6}, {19999, 20001}, {39000, 40000}})};
        const auto tallies = decode_one_date(dataset, shards);
        const auto block = tallies[0].block_bytes / 4;
        ASSERT_GT(6 * 40000 / block, 8) << "a test of blocks needs some";
        EXPECT_EQ(tallies[0].bytes, 6 * 40000 * 4);
        for (size_t i = 1; i < shards.size(); ++i) {
            const auto expected = blocks_with(shards[i], 6, 40000, block) * block * 4;
            EXPECT_LE(tallies[i].bytes, expected) << i;
            EXPECT_GT(tallies[i].bytes, expected - block * 4) << "the last block may be short";
            EXPECT_EQ(tallies[i].chunks, 1);
        }
    }
}

TEST(Dataset, WideStoresGoPastTheCachesAndAreTheSame)
{
    // More than 1 MiB a date: the path of large fields, with rows that are no multiple of anything.
    TinyStore store;
    store.shape = {2, 37, 1, 9001};
    store.chunks = {1, 37, 1, 9001};
    store.field_shape = {9001};
    store.compressor = blosc("lz4", 1, 0);
    const ScratchFolder folder("wide");
    store.write(folder / "w.zarr");
    // Rows of 11 cells would go beyond the pole; coordinates are not what is tested here.
    store.write_line(folder / "w.zarr/latitudes", "<f8", std::vector<double>(9001, 1.0));
    std::vector<int64_t> all(37);
    for (size_t i = 0; i < all.size(); ++i)
        all[i] = int64_t(i);
    const auto dataset = open_dataset(folder / "w.zarr");
    expect_read(dataset, {1, 0}, {0, 9001}, all);
    expect_read(dataset, {1}, {13, 8990}, all);
}

TEST(Dataset, SelectionsAndMasksComeInTheOrderAskedFor)
{
    const ScratchFolder folder("select");
    TinyStore().write(folder / "s.zarr");
    const auto path = (folder / "s.zarr").string();
    const auto picked = open_dataset(json{{"dataset", path}, {"select", {"v3", "v0"}}});
    expect_read(picked, {3, 1}, {5, 70}, {3, 0});
    const auto thin = open_dataset(json{{"dataset", path}, {"thinning", 3}, {"member", 1}});
    EXPECT_EQ(thin->n_cells(), 3 * 4);
    EXPECT_EQ(thin->field_shape(), (std::vector<int64_t>{3, 4}));
    std::vector<float> values(size_t(4 * 5));
    const int64_t date = 2;
    thin->read({&date, 1}, {4, 8}, values);
    for (int64_t i = 0; i < 4; ++i) // second thinned row: row 3, columns 0, 3, 6, 9
        EXPECT_EQ(values[size_t(i * 5 + 2)], TinyStore::value(2, 2, 1, 33 + 3 * i));
    const auto renamed = open_dataset(json{{"dataset", path}, {"rename", {{"v1", "x"}}}, {"drop", "v0"}});
    EXPECT_EQ(renamed->variables(), (std::vector<std::string>{"x", "v2", "v3", "v4"}));
    EXPECT_EQ(renamed->constant_fields(), (std::vector<std::string>{"x"}));
    EXPECT_EQ(renamed->variables_metadata().at("x").at("units"), "K");
    EXPECT_EQ(renamed->statistics_tendencies(21600)->mean.size(), 4u);
}

TEST(Dataset, AnotherDatasetGivesStatisticsAndTendencies)
{
    const ScratchFolder folder("statistics");
    TinyStore().write(folder / "a.zarr");
    TinyStore other;
    other.write(folder / "b.zarr");
    other.write_line(folder / "b.zarr/mean", "<f8", std::vector<double>{10, 11, 12, 13, 14});
    other.write_line(folder / "b.zarr/statistics_tendencies_6h_mean", "<f8", std::vector<double>{20, 21, 22, 23, 24});
    const auto dataset = open_dataset(json{{"dataset", (folder / "a.zarr").string()},
                                           {"select", {"v4", "v2"}},
                                           {"statistics", (folder / "b.zarr").string()}});
    EXPECT_EQ(dataset->statistics().mean, (std::vector<double>{14, 12}));
    EXPECT_EQ(dataset->statistics_tendencies(21600)->mean, (std::vector<double>{24, 22}));
}

TEST(Dataset, WindowsAvoidMissingDates)
{
    const ScratchFolder folder("windows");
    TinyStore store;
    store.shape[0] = 9;
    store.missing = {4};
    store.write(folder / "s.zarr");
    const auto dataset = open_dataset(folder / "s.zarr");
    const std::vector<int64_t> window = {-1, 0, 1}, sparse = {0, 2};
    EXPECT_EQ(valid_anchors(*dataset, window), (std::vector<int64_t>{1, 2, 6, 7}));
    EXPECT_EQ(valid_anchors(*dataset, sparse), (std::vector<int64_t>{0, 1, 3, 5, 6}));
    const auto filled =
        open_dataset(json{{"dataset", (folder / "s.zarr").string()}, {"fill_missing_dates", "closest"}});
    EXPECT_EQ(valid_anchors(*filled, window).size(), 7u);
    std::vector<float> found(size_t(2 * 5));
    const int64_t date = 4;
    filled->read({&date, 1}, {0, 1}, found);
    EXPECT_EQ(found[0], TinyStore::value(5, 0, 0, 0));
}

TEST(DatasetDates, TextsStandForStretches)
{
    const auto is = [](const char* text, const char* first, const char* last) {
        const auto span = parse_date(text);
        ASSERT_TRUE(span) << text;
        EXPECT_EQ(format_datetime(span->first), first) << text;
        EXPECT_EQ(format_datetime(span->last), last) << text;
    };
    is("2019", "2019-01-01T00:00:00", "2019-12-31T23:59:59");
    is("201902", "2019-02-01T00:00:00", "2019-02-28T23:59:59");
    is("2020-02", "2020-02-01T00:00:00", "2020-02-29T23:59:59");
    is("20190305", "2019-03-05T00:00:00", "2019-03-05T23:59:59");
    is("1899-12-31 18:00:00", "1899-12-31T18:00:00", "1899-12-31T18:00:00");
    for (const auto* text : {"", "19", "2019-13", "2019-02-29", "2019-02-00", "20190001", "2019-1-01",
                             "2019-01-01T25:00:00", "2019-01-01T00:00:00+01", "-2019", "yesterday"})
        EXPECT_FALSE(parse_date(text)) << text;
    std::vector<int64_t> dates;
    for (int64_t i = 0; i < 8; ++i)
        dates.push_back(TinyStore::date(i));
    EXPECT_EQ(position_of("12:00", RangeEnd::Start, dates), 2);
    EXPECT_EQ(position_of("50%", RangeEnd::Start, dates), 3);
    EXPECT_EQ(position_of("50%", RangeEnd::End, dates), 3);
    EXPECT_THROW((void)position_of("12:00", RangeEnd::End, dates), ConfigError);
}

} // namespace
} // namespace gradwind::data
