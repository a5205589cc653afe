// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/data/dataset_store.h"
#include "gradwind/data/decode_tally.h"
#include "gradwind/data/open_dataset.h"
#include "gradwind/train/cell_reader.h"
#include "tests/data/tiny_store.h"
#include "tests/support/ranks.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <array>
#include <numeric>

namespace gradwind::train
{
namespace
{

constexpr int64_t kCells = 97;

/// A store in chunks of ten cells.
std::shared_ptr<const data::Dataset> open_blocks(const data::ScratchFolder& folder, int64_t n_cells = kCells)
{
    data::TinyStore store;
    store.shape = {2, 3, 1, n_cells};
    store.chunks = {1, 3, 1, 10};
    store.field_shape = {n_cells};
    store.write(folder / "s.zarr");
    return data::open_dataset(folder / "s.zarr");
}

/// [2 samples, 3 dates, 1 member, cells, 2 variables] whose values name their place.
at::Tensor whole_batch()
{
    return at::arange(2 * 3 * kCells * 2, at::kFloat).reshape({2, 3, 1, kCells, 2});
}

at::Tensor batch_of(const data::CellRanges& cells)
{
    std::vector<at::Tensor> parts;
    for (const auto& part : cells.parts())
        parts.push_back(whole_batch().narrow(3, part.begin, part.count()));
    return at::cat(parts, 3);
}

void expect_own(const CellReader& reader, const std::vector<int64_t>& own)
{
    const auto expected = whole_batch().index_select(3, at::tensor(own, at::kLong));
    EXPECT_TRUE(at::equal(reader.own(batch_of(reader.cells())), expected));
}

/// The cells of a model group, cut into ranges.
std::vector<std::vector<int64_t>> ranges_of(int64_t n_cells, int n_parts)
{
    std::vector<std::vector<int64_t>> own;
    for (const auto& part : equal_ranges(n_cells, n_parts)) {
        auto& cells = own.emplace_back(size_t(part.count()));
        std::iota(cells.begin(), cells.end(), part.parts()[0].begin);
    }
    return own;
}

GRADWIND_MULTIRANK_TEST(CellReader, RangesAreReadWithoutAnExchange, RankCounts{1, 2, 3})
{
    const data::ScratchFolder folder("readers");
    const auto dataset = open_blocks(folder);
    const auto own = ranges_of(kCells, world.size());
    const CellReader reader(world, dataset, own);
    EXPECT_EQ(reader.cells().parts().size(), 1u);
    expect_own(reader, own[size_t(world.rank())]);
    EXPECT_EQ(dynamic_cast<const data::StoreDataset&>(*dataset).decoded().bytes, 0) << "nothing has to be tried";
    EXPECT_EQ(world.traffic().of(parallel::Verb::AllToAll).calls, 0);
}

GRADWIND_MULTIRANK_TEST(CellReader, ScatteredCellsAreRedistributedWhereThatDecodesLess, RankCounts{2, 3})
{
    const data::ScratchFolder folder("readers");
    const auto dataset = open_blocks(folder);
    for (const bool scattered : {true, false}) {
        // In turn, so that every process would decode every block; or by tens, so that none is decoded twice.
        std::vector<std::vector<int64_t>> own(size_t(world.size()));
        for (int64_t cell = 0; cell < kCells; ++cell)
            own[size_t((scattered ? cell : cell / 10) % world.size())].push_back(cell);
        const CellReader reader(world, dataset, own);
        EXPECT_EQ(reader.cells().parts().size() == 1, scattered);
        const auto calls = world.traffic().of(parallel::Verb::AllToAll).calls;
        expect_own(reader, own[size_t(world.rank())]);
        EXPECT_EQ(world.traffic().of(parallel::Verb::AllToAll).calls - calls, scattered ? 1 : 0);
    }
}

GRADWIND_MULTIRANK_TEST(CellReader, MembersOfAnEnsembleReadEveryCellOnce, RankCounts{2, 3, 4})
{
    // Two model groups of two processes, or members on single processes, which all work on the same cells.
    const data::ScratchFolder folder("readers");
    const auto dataset = open_blocks(folder);
    const int model_size = world.size() == 4 ? 2 : 1;
    for (const bool scattered : {false, true}) {
        auto own = ranges_of(kCells, model_size);
        if (scattered && model_size == 2)
            for (auto& cells : own = std::vector<std::vector<int64_t>>(2))
                for (int64_t cell = &cells - own.data(); cell < kCells; cell += 2)
                    cells.push_back(cell);
        while (int(own.size()) < world.size())
            own.push_back(own[own.size() - size_t(model_size)]);
        const CellReader reader(world, dataset, own);
        expect_own(reader, own[size_t(world.rank())]);
        std::vector<double> times_read(kCells);
        for (const auto& part : reader.cells().parts())
            for (auto cell = part.begin; cell < part.end; ++cell)
                ++times_read[size_t(cell)];
        EXPECT_EQ(world.sum(times_read), std::vector<double>(kCells, 1.0));
    }
}

GRADWIND_MULTIRANK_TEST(CellReader, PartOfAModelGroupSharesOutOnlyItsOwnCells, RankCounts{1, 2})
{
    // The other half of the cells belongs to processes of another reader group; the last one has none.
    const data::ScratchFolder folder("readers");
    const auto dataset = open_blocks(folder);
    std::vector<std::vector<int64_t>> own(size_t(world.size()));
    for (int64_t cell = 0; cell < kCells / 2; ++cell)
        own[0].push_back(2 * cell);
    const CellReader reader(world, dataset, own);
    expect_own(reader, own[size_t(world.rank())]);
}

GRADWIND_MULTIRANK_TEST(CellReader, ADateIsDecodedInTheChunksThatARangeMeets, RankCounts{2, 4})
{
    constexpr int64_t n_cells = 402, per_chunk = 10, n_chunks = 41;
    const data::ScratchFolder folder("readers");
    const auto dataset = open_blocks(folder, n_cells);
    const CellReader reader(world, dataset, ranges_of(n_cells, world.size()));
    const auto range = reader.cells().parts().at(0);
    const auto met = (range.end - 1) / per_chunk - range.begin / per_chunk + 1;
    const auto tally = data::decode_one_date(dataset, std::array{reader.cells()}).at(0);
    EXPECT_EQ(tally.chunks, met);
    EXPECT_LE(double(tally.chunks), (1.0 / world.size() + 0.05) * n_chunks);
    EXPECT_EQ(data::decode_one_date(dataset, std::array{data::CellRanges(0, n_cells)}).at(0).chunks, n_chunks);
}

} // namespace
} // namespace gradwind::train
