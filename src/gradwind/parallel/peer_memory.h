// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Memory of other processes' GPUs of this node, and words that processes leave each other in it; private to parallel.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace gradwind::parallel::detail
{

/// The same tensor of every process of a group, as this process's GPU sees it. Its own must live until nobody works on
/// it any more.
class PeerMemory
{
public:
    /// What all ranks say, in rank order; the host waits.
    using Ask = std::function<std::vector<std::string>(const std::string& own)>;

    /// @param own  contiguous, in memory that cudaMalloc() made @collective
    /// @return null on all ranks where one cannot reach another's memory: other nodes, other GPUs than this process may
    /// see, an allocator whose memory cannot be shared, or NCCL_P2P_DISABLE=1
    [[nodiscard]] static std::unique_ptr<PeerMemory> share(const at::Tensor& own, int rank, const Ask& ask);
    ~PeerMemory();
    PeerMemory(const PeerMemory&) = delete;
    PeerMemory& operator=(const PeerMemory&) = delete;

    [[nodiscard]] char* of(int rank) const { return at_[static_cast<size_t>(rank)]; }

private:
    PeerMemory() = default;
    std::vector<char*> at_;       ///< by rank
    std::vector<void*> mappings_; ///< to be closed
};

/// A word of device memory that one process sets and another takes, in the order of their streams: no kernel waits.
using Flag = uint32_t;
inline constexpr int64_t kFlagBytes = 256; ///< between two flags, so that each has a line of the cache for itself
/// After what the stream has queued so far. @param stream  a cudaStream_t
void set_flags(std::span<Flag* const> flags, void* stream);
/// What is queued from now on waits until all of them are set; they are cleared.
void take_flags(std::span<Flag* const> flags, void* stream);

} // namespace gradwind::parallel::detail
