// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What a part of a model exchanges where several processes share it.
#pragma once
#include <cstdint>

namespace gradwind::model
{

/// How the ranks of a model group share the work of a part.
enum class ShardStrategy {
    Edges,   ///< each has the edges that arrive at its nodes
    Heads,   ///< each has all nodes for some of the attention heads
    Sequence ///< each has consecutive nodes and sees those of the neighbours that lie in its window
};

/// For one copy of the nodes. Backward sends as much back as forward sends, once.
struct SharedWork {
    ShardStrategy strategy = ShardStrategy::Edges;
    int64_t columns = 0;      ///< of a row of a halo; of one of the queries, keys, values and results
    int64_t layers = 0;       ///< exchanges of a halo, or rounds of queries, keys, values and results
    int64_t forward_runs = 1; ///< how often a training step sends what forward sends: 2 where it is computed again
    int64_t heads = 0;        ///< with ShardStrategy::Heads
    int64_t window = -1;      ///< with ShardStrategy::Sequence
};

} // namespace gradwind::model
