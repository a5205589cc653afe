// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Times the loader on a store, and beside it in the same run the decoding of the same chunks alone.
//
//   loader_bench --store S [--window 3 | --window -1,0,1] [--samples N] [--batch 2] [--workers 2] [--prefetch 4]
//                [--order shuffled|sequential] [--cells a:b]
//
// Prints one JSON line. "samples" and "seconds" are those of the loader, after the batches that were read ahead of the
// clock have been used up. raw_* is blosc alone: whole chunks from memory into one reused buffer, one thread.
#include "gradwind/core/error.h"
#include "gradwind/data/cells.h"
#include "gradwind/data/dataset_store.h"
#include "gradwind/data/loader.h"
#include "gradwind/data/open_dataset.h"
#include "gradwind/data/windows.h"

#include <algorithm>
#include <blosc.h>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <sstream>
#include <sys/resource.h>

namespace
{

using namespace gradwind;
using namespace gradwind::data;

struct Options {
    std::string store, order = "shuffled";
    std::vector<int64_t> window = {-1, 0, 1};
    int64_t samples = 96, batch = 2, workers = 2, prefetch = 4;
    std::optional<CellRange> cells; ///< nothing: all
};

struct Clock {
    double wall = 0, cpu = 0;
    static Clock now()
    {
        rusage usage{};
        ::getrusage(RUSAGE_SELF, &usage);
        const auto seconds = [](const timeval& t) { return double(t.tv_sec) + 1e-6 * double(t.tv_usec); };
        const auto wall = std::chrono::steady_clock::now().time_since_epoch();
        return {std::chrono::duration<double>(wall).count(), seconds(usage.ru_utime) + seconds(usage.ru_stime)};
    }
    [[nodiscard]] Clock since(const Clock& start) const { return {wall - start.wall, cpu - start.cpu}; }
};

std::vector<int64_t> parse_window(const std::string& text)
{
    std::vector<int64_t> window;
    std::stringstream in(text);
    for (std::string part; std::getline(in, part, ',');)
        window.push_back(std::stoll(part));
    if (window.size() > 1)
        return window;
    // A number alone is a length: 3 is -1, 0, 1.
    std::vector<int64_t> steps;
    for (int64_t i = 0; i < window.at(0); ++i)
        steps.push_back(i - 1);
    return steps;
}

Options parse(const std::vector<std::string>& arguments)
{
    Options options;
    for (size_t i = 0; i < arguments.size(); ++i) {
        const auto& key = arguments[i];
        GRADWIND_CHECK(i + 1 < arguments.size(), ConfigError, "loader_bench: {} needs a value", key);
        const auto& value = arguments[++i];
        if (key == "--store")
            options.store = value;
        else if (key == "--window")
            options.window = parse_window(value);
        else if (key == "--samples")
            options.samples = std::stoll(value);
        else if (key == "--batch")
            options.batch = std::stoll(value);
        else if (key == "--workers")
            options.workers = std::stoll(value);
        else if (key == "--prefetch")
            options.prefetch = std::stoll(value);
        else if (key == "--cells")
            options.cells = CellRange{std::stoll(value), std::stoll(value.substr(value.find(':') + 1))};
        else if (key == "--order")
            options.order = value;
        else
            throw ConfigError(fmt::format("loader_bench: unknown option {}", key));
    }
    GRADWIND_CHECK(!options.store.empty(), ConfigError, "loader_bench: --store is missing");
    return options;
}

/// Anchors without end: epoch after epoch, each in its own order.
class Anchors
{
public:
    Anchors(std::vector<int64_t> anchors, bool shuffled) : anchors_(std::move(anchors)), shuffled_(shuffled) {}
    BatchRequest take(int64_t count)
    {
        BatchRequest request;
        while (int64_t(request.anchors.size()) < count) {
            if (next_ == 0 && shuffled_)
                std::shuffle(anchors_.begin(), anchors_.end(), random_);
            request.anchors.push_back(anchors_[next_]);
            next_ = (next_ + 1) % anchors_.size();
        }
        return request;
    }

private:
    std::vector<int64_t> anchors_;
    bool shuffled_;
    size_t next_ = 0;
    std::mt19937_64 random_{1};
};

std::vector<std::vector<char>> load_chunks(const StoreDataset& dataset, size_t limit)
{
    std::vector<std::vector<char>> chunks;
    for (const auto& entry : std::filesystem::directory_iterator(dataset.store().data.folder())) {
        if (chunks.size() == limit || entry.path().filename().string()[0] == '.')
            continue;
        std::ifstream in(entry.path(), std::ios::binary);
        chunks.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
    }
    return chunks;
}

/// Seconds of one thread to decode the bytes of one date, chunk after chunk; 0 where the store is not blosc.
Clock raw_decoding_per_date(const StoreDataset& dataset, int64_t passes)
{
    const auto& meta = dataset.store().data.meta();
    if (meta.codec != Codec::Blosc)
        return {};
    const auto chunks = load_chunks(dataset, 32);
    std::vector<char> out(size_t(meta.chunk_bytes()), 1);
    const auto start = Clock::now();
    for (int64_t pass = 0; pass < passes; ++pass)
        for (const auto& chunk : chunks)
            GRADWIND_CHECK(::blosc_decompress_ctx(chunk.data(), out.data(), out.size(), 1) > 0, DataError,
                           "loader_bench: a chunk of {} does not decode", dataset.info().name);
    const auto used = Clock::now().since(start);
    const auto bytes_per_date = double(meta.elements() / std::max<int64_t>(meta.shape[0], 1) * size_of(meta.type));
    const double dates = double(passes) * double(chunks.size()) * double(meta.chunk_bytes()) / bytes_per_date;
    return {used.wall / dates, used.cpu / dates};
}

int64_t peak_rss_kb()
{
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

nlohmann::json measure(const Options& options, const std::shared_ptr<const Dataset>& dataset)
{
    Anchors anchors(valid_anchors(*dataset, options.window), options.order == "shuffled");
    const auto cells = options.cells.value_or(CellRange{0, dataset->n_cells()});
    const std::vector<CellRanges> selections = {cells, {0, dataset->n_cells()}};
    const auto tallies = decode_one_date(dataset, selections);
    const auto begin = Clock::now();
    Loader loader(dataset, {int(options.workers), options.prefetch, cells, options.window, {}},
                  [&]() -> std::optional<BatchRequest> { return anchors.take(options.batch); });
    double first = 0, sum = 0;
    for (int64_t i = 0; i < options.prefetch + 2; ++i) {
        sum += double(loader.next()->values[0]);
        if (i == 0)
            first = Clock::now().since(begin).wall;
    }
    int64_t samples = 0, bytes = 0;
    const auto start = Clock::now();
    while (samples < options.samples) {
        const auto batch = loader.next();
        samples += int64_t(batch->anchors.size());
        bytes += int64_t(batch->values.size_bytes());
        sum += double(batch->values[0]);
    }
    const auto used = Clock::now().since(start);
    return {{"samples", samples},
            {"seconds", used.wall},
            {"cpu_seconds", used.cpu},
            {"bytes", bytes},
            {"samples_per_s", double(samples) / used.wall},
            {"MB_per_s", double(bytes) / used.wall / 1e6},
            {"cpu_ms_per_sample", 1e3 * used.cpu / double(samples)},
            {"first_batch_seconds", first},
            {"peak_rss_MB", double(peak_rss_kb()) * 1024 / 1e6},
            {"unit", fmt::format("{}-date sample", options.window.size())},
            {"order", options.order},
            {"workers", options.workers},
            {"batch", options.batch},
            {"prefetch", options.prefetch},
            {"cells", cells.count()},
            {"decoded_share", double(tallies[0].bytes) / double(tallies[1].bytes)},
            {"block_bytes", tallies[0].block_bytes},
            {"first_values", sum}};
}

int run(const Options& options)
{
    const auto dataset = open_dataset(std::filesystem::path(options.store));
    const auto* store = dynamic_cast<const StoreDataset*>(dataset.get());
    // Half before, half after, so that a drift of the machine falls on both.
    const auto before = raw_decoding_per_date(*store, 2);
    auto result = measure(options, dataset);
    const auto after = raw_decoding_per_date(*store, 2);
    const auto raw_wall = (before.wall + after.wall) / 2, raw_cpu = (before.cpu + after.cpu) / 2;
    const auto dates = double(options.window.size());
    result["raw_dates_per_s"] = raw_wall > 0 ? 1 / raw_wall : 0;
    result["raw_cpu_ms_per_sample"] = 1e3 * raw_cpu * dates;
    result["cpu_over_raw"] = raw_cpu > 0 ? result["cpu_ms_per_sample"].get<double>() / (1e3 * raw_cpu * dates) : 0;
    std::printf("%s\n", result.dump().c_str());
    return 0;
}

} // namespace

int main(int argc, char** argv)
{
    try {
        return run(parse({argv + 1, argv + argc}));
    } catch (const Error& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return int(error.code());
    }
}
