// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/grid/threads.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>
#include <vector>

namespace gradwind::grid
{

void for_each_chunk(int64_t n, const std::function<void(int64_t begin, int64_t end)>& body)
{
    constexpr int64_t kChunk = 4096; // large enough that starting one costs nothing, small enough to balance
    constexpr unsigned kMaxThreads = 8;
    const int64_t n_chunks = (n + kChunk - 1) / kChunk;
    const int64_t n_cores = std::clamp(std::thread::hardware_concurrency(), 1u, kMaxThreads);
    const int64_t n_threads = std::min(n_chunks, n_cores);
    if (n_threads <= 1) {
        if (n > 0)
            body(0, n);
        return;
    }
    std::atomic<int64_t> next{0};
    std::vector<std::exception_ptr> errors(static_cast<size_t>(n_threads));
    const auto work = [&](size_t thread) {
        try {
            for (int64_t chunk = next++; chunk < n_chunks; chunk = next++)
                body(chunk * kChunk, std::min(n, (chunk + 1) * kChunk));
        } catch (...) {
            errors[thread] = std::current_exception();
            next = n_chunks;
        }
    };
    {
        std::vector<std::jthread> threads;
        for (size_t i = 1; i < errors.size(); ++i)
            threads.emplace_back(work, i);
        work(0);
    }
    for (const std::exception_ptr& error : errors) {
        if (error)
            std::rethrow_exception(error);
    }
}

} // namespace gradwind::grid
