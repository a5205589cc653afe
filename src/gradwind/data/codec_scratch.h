// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Working memory of one decoding thread, reused from read to read.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

struct ZSTD_DCtx_s;

namespace gradwind::data
{

/// Uninitialised bytes in large pages where the system grants them; growing drops the contents.
class PageBuffer
{
public:
    /// At least this many bytes; keeps what it has if that is enough.
    std::byte* reserve(size_t bytes);
    [[nodiscard]] size_t capacity() const { return capacity_; }

private:
    struct Free {
        void operator()(std::byte* bytes) const;
    };
    std::unique_ptr<std::byte, Free> bytes_;
    size_t capacity_ = 0;
};

/// A bump allocator: all memory is given back at once by reset(), and kept for the next round.
class Arena
{
public:
    /// 64-byte aligned, with 64 readable bytes behind it. Valid until reset().
    std::byte* allocate(size_t bytes);
    void reset();

private:
    std::vector<PageBuffer> slabs_;
    size_t used_ = 0; ///< of the last slab
    size_t total_ = 0;
};

/// What a thread needs to decode chunks: one of these per thread, never shared at the same time.
class DecodeScratch
{
public:
    DecodeScratch();
    ~DecodeScratch();
    DecodeScratch(const DecodeScratch&) = delete;
    DecodeScratch& operator=(const DecodeScratch&) = delete;

    PageBuffer compressed; ///< bytes as read from a file
    Arena decoded;         ///< elements of the chunks of one piece of work
    /// Made on first use.
    ZSTD_DCtx_s* zstd();

private:
    ZSTD_DCtx_s* zstd_ = nullptr;
};

} // namespace gradwind::data
