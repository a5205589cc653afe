// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Counts what the host allocates in this program, so that a step can be shown to allocate nothing. It replaces operator
// new: one source of a program may include it.
#pragma once
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace
{
std::atomic<int64_t> n_allocations = 0;        // in all threads
thread_local int64_t n_allocations_of_own = 0; // in this one
} // namespace

void* operator new(std::size_t size)
{
    n_allocations.fetch_add(1, std::memory_order_relaxed);
    ++n_allocations_of_own;
    if (void* memory = std::malloc(size == 0 ? 1 : size))
        return memory;
    throw std::bad_alloc();
}
void operator delete(void* memory) noexcept
{
    std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept
{
    std::free(memory);
}
