// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What a user decides about the exchange of gradients.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace gradwind::parallel
{

/// Precision in which gradients travel.
enum class WireType { AsStored, Bf16 };

enum class Compression { None, PowerSgd, Acp };

struct CompressionOptions {
    Compression kind = Compression::None;
    int64_t rank = 4;       ///< of the factors; less where a matrix has fewer rows or columns
    int64_t start_step = 0; ///< reduced steps that are exchanged dense before
    /// A matrix is compressed if its factors (both) have this many times fewer elements; 0: every matrix.
    double min_ratio = 2;
};

struct EngineOptions {
    double bucket_cap_mb = 25;  ///< MiB that one all-reduce carries at most; tensors are split to fit
    double first_bucket_mb = 1; ///< of the bucket that is ready first: the network starts early
    /// Sizes of all buckets, of a plan that was made for this model; empty: by the two above.
    std::vector<int64_t> bucket_bytes = {};
    WireType wire = WireType::AsStored;
    /// Sums by copies between the memories of GPUs of one node where those can be reached, not by the communication
    /// library. Not with rows of ranks, the two sizes below.
    bool copy_engines = false;
    CompressionOptions compression = {};
    /// Consecutive ranks that share the optimiser's state (ZeRO, first stage): gradients are summed only where they are
    /// applied, and share_parameters() hands the weights round. 1: every rank holds everything.
    int zero_group_size = 1;
    /// Consecutive ranks of a node, between which the network is fast: gradients are summed in the node, then every
    /// rank sums its part across nodes, then the parts are handed round in the node. 1: one all-reduce over all ranks.
    /// A zero_group_size above 1 takes its place.
    int node_size = 1;
    /// Names of all parameters in the order of the arena, from order() of an earlier run: nothing is laid out anew
    /// then. Empty: the order in which rank 0's gradients become ready in the first reduced backward.
    std::vector<std::string> order = {};
};

} // namespace gradwind::parallel
