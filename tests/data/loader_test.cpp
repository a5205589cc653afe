// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/error.h"
#include "gradwind/data/loader.h"
#include "gradwind/data/open_dataset.h"
#include "gradwind/data/windows.h"
#include "tests/data/tiny_store.h"

#include <atomic>
#include <gtest/gtest.h>
#include <map>
#include <mutex>
#include <random>
#include <thread>

namespace gradwind::data
{
namespace
{

/// Values that name their place; counts what is read, and can be told to fail or to be slow.
class CountingDataset : public Dataset
{
public:
    explicit CountingDataset(int64_t n_dates) : Dataset(describe(n_dates)) {}
    void read_dates(std::span<const int64_t> dates, CellRange cells, std::span<float* const> out) const override
    {
        check_request(dates, cells);
        if (slow)
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
        for (size_t i = 0; i < dates.size(); ++i) {
            {
                const std::lock_guard lock(mutex_);
                ++reads_[dates[i]];
            }
            GRADWIND_CHECK(dates[i] != failing, DataError, "date {} fails", dates[i]);
            size_t at = 0;
            for (int64_t member = 0; member < n_members(); ++member)
                for (auto cell = cells.begin; cell < cells.end; ++cell)
                    for (int64_t variable = 0; variable < n_variables(); ++variable)
                        out[i][at++] = value(dates[i], variable, member, cell);
        }
    }
    static float value(int64_t date, int64_t variable, int64_t member, int64_t cell)
    {
        return float(((date * 3 + variable) * 2 + member) * 10 + cell);
    }
    [[nodiscard]] std::map<int64_t, int> reads() const
    {
        const std::lock_guard lock(mutex_);
        return reads_;
    }
    int64_t failing = -1;
    bool slow = false;

private:
    static DatasetInfo describe(int64_t n_dates)
    {
        DatasetInfo info;
        info.name = "counting";
        info.variables = {"a", "b", "c"};
        info.n_members = 2;
        info.latitudes.assign(10, 0);
        info.longitudes.assign(10, 0);
        for (int64_t i = 0; i < n_dates; ++i)
            info.dates.push_back(3600 * i);
        info.missing.assign(size_t(n_dates), 0);
        return info;
    }
    mutable std::mutex mutex_;
    mutable std::map<int64_t, int> reads_;
};

std::function<std::optional<BatchRequest>()> requests(std::vector<std::vector<int64_t>> batches)
{
    return [batches, next = size_t(0)]() mutable -> std::optional<BatchRequest> {
        if (next == batches.size())
            return std::nullopt;
        return BatchRequest{batches[next++]};
    };
}

void expect_batch(const Batch& batch, const std::vector<int64_t>& anchors, const LoaderOptions& options)
{
    ASSERT_EQ(batch.anchors, anchors);
    size_t at = 0;
    for (const auto anchor : anchors)
        for (const auto offset : options.relative_indices)
            for (int64_t member = 0; member < 2; ++member)
                for (auto cell = options.cells.begin; cell < options.cells.end; ++cell)
                    for (int64_t variable = 0; variable < 3; ++variable)
                        ASSERT_EQ(batch.values[at++], CountingDataset::value(anchor + offset, variable, member, cell));
    ASSERT_EQ(batch.values.size(), at);
}

TEST(Loader, BatchesComeInOrderForAnyNumberOfThreads)
{
    std::mt19937 random(3);
    std::vector<std::vector<int64_t>> batches(60);
    for (auto& batch : batches) // empty and short ones among them
        for (auto n = random() % 4; n > 0; --n)
            batch.push_back(1 + int64_t(random() % 38));
    for (const int threads : {1, 2, 5})
        for (const int64_t prefetch : {1, 3}) {
            const auto dataset = std::make_shared<CountingDataset>(40);
            const LoaderOptions options{threads, prefetch, {2, 9}, {-1, 0, 1}, {}};
            Loader loader(dataset, options, requests(batches));
            for (const auto& anchors : batches) {
                const auto batch = loader.next();
                ASSERT_TRUE(batch);
                expect_batch(*batch, anchors, options);
            }
            EXPECT_FALSE(loader.next());
            EXPECT_FALSE(loader.next());
        }
}

TEST(Loader, DatesSharedByWindowsAreReadOnce)
{
    const auto dataset = std::make_shared<CountingDataset>(40);
    const LoaderOptions options{2, 2, {0, 10}, {-1, 0, 1}, {}};
    Loader loader(dataset, options, requests({{5, 6, 7, 6}}));
    expect_batch(*loader.next(), {5, 6, 7, 6}, options);
    EXPECT_EQ(dataset->reads(), (std::map<int64_t, int>{{4, 1}, {5, 1}, {6, 1}, {7, 1}, {8, 1}}));
}

TEST(Loader, NeverHoldsMoreBatchesThanAgreedAndReusesTheirMemory)
{
    std::atomic<int64_t> alive = 0, most = 0, made = 0;
    const auto dataset = std::make_shared<CountingDataset>(40);
    LoaderOptions options{3, 3, {0, 10}, {0, 1}, {}};
    options.allocate = [&](size_t count) {
        most = std::max<int64_t>(most, ++alive);
        ++made;
        return std::shared_ptr<float[]>(new float[count], [&](const float* p) {
            --alive;
            delete[] p;
        });
    };
    {
        Loader loader(dataset, options, requests(std::vector<std::vector<int64_t>>(50, {3, 4})));
        auto first = loader.next();
        for (int i = 0; i < 40; ++i) {
            const auto batch = loader.next();
            expect_batch(*batch, {3, 4}, options);
        }
        expect_batch(*first, {3, 4}, options); // held all the time, never overwritten
        std::vector<std::optional<Batch>> held;
        held.push_back(loader.next());
        held.push_back(loader.next());
        EXPECT_THROW((void)loader.next(), InternalError);
        held.pop_back();
        EXPECT_TRUE(loader.next());
    }
    EXPECT_LE(most, 3);
    EXPECT_EQ(made, 3);
    EXPECT_EQ(alive, 0);
}

TEST(Loader, AWorkersErrorComesOnceInItsPlace)
{
    const auto dataset = std::make_shared<CountingDataset>(40);
    dataset->failing = 20;
    const LoaderOptions options{4, 3, {0, 10}, {0}, {}};
    Loader loader(dataset, options, requests({{1, 2}, {19, 20}, {3}, {99}, {4}}));
    expect_batch(*loader.next(), {1, 2}, options);
    EXPECT_THROW((void)loader.next(), DataError);
    expect_batch(*loader.next(), {3}, options);
    EXPECT_THROW((void)loader.next(), DataError) << "no date 99; the series of requests ends with it";
    EXPECT_FALSE(loader.next());
}

TEST(Loader, StopsQuicklyAndBatchesOutliveIt)
{
    const auto dataset = std::make_shared<CountingDataset>(4000);
    dataset->slow = true;
    std::optional<Batch> kept;
    const LoaderOptions options{2, 4, {0, 10}, {0}, {}};
    const auto start = std::chrono::steady_clock::now();
    {
        std::vector<int64_t> many(1000);
        for (size_t i = 0; i < many.size(); ++i)
            many[i] = int64_t(i);
        Loader loader(dataset, options, requests({{1}, many, many, many}));
        kept = loader.next();
    }
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1)) << "3000 dates would take 3 s";
    expect_batch(*kept, {1}, options);
}

TEST(Loader, RefusesOptionsThatCannotWork)
{
    const auto dataset = std::make_shared<CountingDataset>(4);
    const auto open = [&](LoaderOptions options) { Loader loader(dataset, std::move(options), requests({})); };
    EXPECT_THROW(open({0, 1, {0, 1}, {0}, {}}), ConfigError);
    EXPECT_THROW(open({1, 0, {0, 1}, {0}, {}}), ConfigError);
    EXPECT_THROW(open({1, 1, {0, 11}, {0}, {}}), ConfigError);
    EXPECT_THROW(open({1, 1, {0, 1}, {}, {}}), ConfigError);
}

TEST(Loader, AStoreReadThroughItEqualsTheStore)
{
    const ScratchFolder folder("loader");
    TinyStore tiny;
    tiny.shape[0] = 13;
    tiny.chunks = {4, 5, 1, 40};
    tiny.write(folder / "s.zarr");
    const auto dataset = open_dataset(folder / "s.zarr");
    const LoaderOptions options{4, 3, {5, 70}, {-1, 0, 2}, {}};
    const auto anchors = valid_anchors(*dataset, options.relative_indices);
    std::vector<std::vector<int64_t>> batches;
    for (size_t i = 0; i + 2 < anchors.size(); ++i)
        batches.push_back({anchors[i], anchors[i + 2], anchors[i]});
    Loader loader(dataset, options, requests(batches));
    for (const auto& batch_anchors : batches) {
        const auto batch = loader.next();
        std::vector<int64_t> dates;
        for (const auto anchor : batch_anchors)
            for (const auto offset : options.relative_indices)
                dates.push_back(anchor + offset);
        std::vector<float> expected(batch->values.size());
        dataset->read(dates, options.cells, expected);
        EXPECT_TRUE(std::equal(expected.begin(), expected.end(), batch->values.begin()));
    }
}

} // namespace
} // namespace gradwind::data
