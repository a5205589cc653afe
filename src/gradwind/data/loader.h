// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Batches in training layout, decoded ahead by threads, in a bounded amount of memory.
#pragma once
#include "gradwind/data/dataset.h"

#include <chrono>
#include <functional>

namespace gradwind::data
{

/// One batch to be read: the anchors of this process's samples, in order; may be empty.
struct BatchRequest {
    std::vector<int64_t> anchors;
};

struct LoaderState;

/// From the first to the last moment at which a thread decoded something of a batch.
struct DecodingTime {
    std::chrono::steady_clock::time_point begin{}, end{};
};

/// A batch in memory. Its buffer goes back to the loader when the last holder lets go of `buffer`.
struct Batch {
    std::vector<int64_t> anchors;
    std::span<float> values; ///< [samples, T, members, cells, variables], T = number of relative indices
    std::shared_ptr<void> buffer;
    DecodingTime decoded;
};

/// Where batches lie: at least this many floats. Called rarely, from the thread that asks for a batch or a worker.
using BatchAllocator = std::function<std::shared_ptr<float[]>(size_t count)>;

struct LoaderOptions {
    int threads = 2;
    /// Most batches that exist at any time: being read, waiting, and held by the caller.
    int64_t prefetch_batches = 4;
    CellRange cells; ///< of the data set, after masking
    std::vector<int64_t> relative_indices;
    BatchAllocator allocate; ///< for pinned memory; by default ordinary memory in large pages
};

/// Reads batches ahead, in the order of the requests and with the same result for any number of threads.
///
/// A date that several windows of a batch share is decoded once. Buffers are reused: after the first
/// `prefetch_batches` batches nothing is allocated, unless a larger batch is asked for.
class Loader
{
public:
    /// @param next_request gives the requests in order, nothing at the end; called by one thread at a time, ahead of
    ///        what next() returns. What it throws is rethrown by next() in its place, and ends the series.
    /// @throws ConfigError for options that cannot work
    Loader(std::shared_ptr<const Dataset> dataset, LoaderOptions options,
           std::function<std::optional<BatchRequest>()> next_request);
    /// Stops the threads after what they are decoding at the moment; batches still held stay valid.
    ~Loader();
    Loader(const Loader&) = delete;
    Loader& operator=(const Loader&) = delete;

    /// The next batch, or nothing at the end. Waits until it is complete.
    /// @throws what reading the batch threw, once; the call after that gives the batch behind it
    /// @throws InternalError if the caller holds all `prefetch_batches` batches, since none could ever be read
    [[nodiscard]] std::optional<Batch> next();

private:
    std::shared_ptr<LoaderState> state_;
};

} // namespace gradwind::data
