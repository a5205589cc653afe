// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// How kernels on the CPU share work among threads so that results do not depend on their number.
#pragma once
#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>

namespace gradwind::ops
{

/// Sums over many blocks are made in at most this many parts, whatever the number of threads.
constexpr int64_t kMostParts = 16;

/// Parts in which something is summed over `n_blocks` blocks; a power of two, so that few threads share them evenly.
inline int64_t count_parts(int64_t n_blocks)
{
    return int64_t(std::bit_floor(uint64_t(std::clamp<int64_t>(n_blocks / 4, 1, kMostParts))));
}

/// Calls `work(part, memory)` for every part; threads take the next one that is left. `memory` is what `prepare()` made
/// for the thread.
template <class Prepare, class Work>
void for_each_part(int64_t n, const Prepare& prepare, const Work& work)
{
    std::atomic<int64_t> next{0};
    const auto threads = std::min<int64_t>(n, at::get_num_threads());
    at::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) {
        auto memory = prepare();
        for (auto thread = begin; thread < end; ++thread)
            for (auto part = next++; part < n; part = next++)
                work(part, memory);
    });
}

/// The same without memory.
template <class Work>
void for_each_part(int64_t n, const Work& work)
{
    for_each_part(
        n, [] { return 0; }, [&](int64_t part, int) { work(part); });
}

} // namespace gradwind::ops
