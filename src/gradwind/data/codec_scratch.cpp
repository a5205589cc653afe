// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/data/codec_scratch.h"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <sys/mman.h>
#include <zstd.h>

namespace gradwind::data
{

namespace
{

constexpr size_t kHugePage = size_t(2) << 20;
constexpr size_t kSlabBytes = size_t(1) << 20;
constexpr size_t kPadding = 64;

size_t round_up(size_t bytes, size_t unit)
{
    return (bytes + unit - 1) / unit * unit;
}

} // namespace

void PageBuffer::Free::operator()(std::byte* bytes) const
{
    std::free(bytes);
}

std::byte* PageBuffer::reserve(size_t bytes)
{
    if (bytes <= capacity_)
        return bytes_.get();
    bytes_.reset();
    capacity_ = 0;
    // The transposition walks hundreds of streams at once: with small pages each would need its own TLB entry.
    const auto alignment = bytes >= kHugePage ? kHugePage : kPadding;
    const auto size = round_up(bytes, alignment);
    bytes_.reset(static_cast<std::byte*>(std::aligned_alloc(alignment, size)));
    if (!bytes_)
        throw std::bad_alloc();
    if (alignment == kHugePage)
        ::madvise(bytes_.get(), size, MADV_HUGEPAGE);
    capacity_ = size;
    return bytes_.get();
}

std::byte* Arena::allocate(size_t bytes)
{
    const auto size = round_up(bytes + kPadding, kPadding);
    if (slabs_.empty() || used_ + size > slabs_.back().capacity()) {
        slabs_.emplace_back().reserve(std::max(size, kSlabBytes));
        total_ += slabs_.back().capacity();
        used_ = 0;
    }
    auto* const out = slabs_.back().reserve(0) + used_;
    used_ += size;
    return out;
}

void Arena::reset()
{
    // One slab of the whole size next time, so that a steady state allocates nothing.
    if (slabs_.size() > 1) {
        slabs_.clear();
        slabs_.emplace_back().reserve(total_);
        total_ = slabs_.back().capacity();
    }
    used_ = 0;
}

DecodeScratch::DecodeScratch() = default;

DecodeScratch::~DecodeScratch()
{
    ZSTD_freeDCtx(zstd_);
}

ZSTD_DCtx_s* DecodeScratch::zstd()
{
    if (!zstd_)
        zstd_ = ZSTD_createDCtx();
    if (!zstd_)
        throw std::bad_alloc();
    return zstd_;
}

} // namespace gradwind::data
