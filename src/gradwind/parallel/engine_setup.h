// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What a gradient engine works out before its first step; private to parallel.
#pragma once
#include "gradwind/parallel/arena.h"
#include "gradwind/parallel/engine_options.h"
#include "gradwind/parallel/group.h"

#include <optional>
#include <string>
#include <vector>

namespace gradwind::parallel::detail
{

/// What all ranks have to have in common: a line per parameter, then the options.
[[nodiscard]] std::string manifest_of(const std::vector<NamedParameter>& parameters, const EngineOptions& options);

/// Reverse of the order of registration, which is about the order of use: what is used last is ready first.
[[nodiscard]] std::vector<size_t> reversed_order(size_t count);

/// Indices of the parameters with these names. @throws ConfigError unless they are all of them, once
[[nodiscard]] std::vector<size_t> order_from_names(const std::vector<NamedParameter>& parameters,
                                                   const std::vector<std::string>& names);

/// What ranks learn from a backward of which any of them may have had none.
struct Lesson {
    int teacher = 0;         ///< the first rank that had one
    std::vector<int> counts; ///< by parameter: how often a gradient is added to, the most that any rank saw
};
/// @param seen  by parameter, how often that was here; zeros: no backward
/// @return nothing if no rank had one @collective
[[nodiscard]] std::optional<Lesson> learn(const Group& world, const std::vector<int>& seen);

/// What one rank saw, on all ranks, with the parameters that it did not see at the end. @collective
[[nodiscard]] std::vector<size_t> order_of_rank(const Group& world, int rank, const std::vector<size_t>& seen,
                                                size_t count);

[[nodiscard]] std::vector<std::vector<int64_t>> shapes_of(const std::vector<NamedParameter>& parameters);

/// @throws ConfigError unless the ends of buckets grow up to the arena's length
void check_ends(const std::vector<int64_t>& ends, int64_t numel);

/// Compression takes whole matrices: each end moves to the next end of a slice.
[[nodiscard]] std::vector<int64_t> at_ends_of_slices(const std::vector<Slice>& slices,
                                                     const std::vector<int64_t>& ends);

/// The same ends, each at the next multiple; the last one stays. @param granule  divides the last one
[[nodiscard]] std::vector<int64_t> at_multiples(const std::vector<int64_t>& ends, int64_t granule);

/// In a world of one nothing is shared.
[[nodiscard]] EngineOptions in_world(EngineOptions options, int world);
/// Ranks that a bucket is cut over.
[[nodiscard]] int row_size(const EngineOptions& options, int world);
/// The arena's length, and where buckets are cut over a row also theirs, are multiples of this.
[[nodiscard]] int64_t granule_bytes(const EngineOptions& options, int world);

/// @throws ConfigError where groups of ranks do not fill the world, or cannot go together with other options
void check_sharing(const EngineOptions& options, int world);

} // namespace gradwind::parallel::detail
