// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Where to cut the gradients into buckets, from when they are ready and how fast the network is. No torch.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace gradwind::parallel
{

/// One all-reduce of n bytes takes latency_s + n / bytes_per_s.
struct LinkModel {
    double latency_s = 50e-6;
    double bytes_per_s = 10e9;
    /// Seconds of compute that are lost for each second in which a collective runs beside it.
    double contention = 0;
    [[nodiscard]] double seconds(double bytes) const { return latency_s + bytes / bytes_per_s; }
};

/// What all ranks agreed on about the gradients, in the order of the arena.
struct PlanInputs {
    struct Part {
        int64_t bytes = 0;
        double ready_s = 0; ///< after the begin of backward
    };
    std::vector<Part> parts;
    double backward_s = 0; ///< at least the largest ready_s
    LinkModel link;
    int64_t granule_bytes = 256; ///< buckets end at multiples of this
    /// Plans that finish this much later (a fraction of backward_s) are as good if they have fewer buckets.
    double slack = 0.002;
};

/// How a step with some buckets would go.
struct PlannedExchange {
    double finish_s = 0;        ///< when the last bucket is summed
    double exposed_s = 0;       ///< of that, after the end of backward
    double communication_s = 0; ///< of all buckets together
};

/// Buckets leave in order, each when it is ready and the one before has arrived (spec data-parallel §6.4).
/// @param bucket_bytes  sizes whose sum is that of the parts
/// @throws ConfigError if it is not
[[nodiscard]] PlannedExchange predict_exchange(const PlanInputs& inputs, std::span<const int64_t> bucket_bytes);

/// Sizes of the buckets with which the exchange finishes first: by dynamic programming over the ends of the parts and
/// cuts inside the large ones, then with as few buckets as the slack allows, which leaves the small ones at the end.
/// Exact up to the resolution of the cuts; O(n^2) for n = at most max_cuts of them.
[[nodiscard]] std::vector<int64_t> plan_exchange(const PlanInputs& inputs, int64_t max_cuts = 1024);

/// Buckets of cap_bytes with ever smaller ones at the end, down to tail_bytes: the last thing to arrive is small.
[[nodiscard]] std::vector<int64_t> tail_shaped(int64_t total_bytes, int64_t cap_bytes, int64_t tail_bytes,
                                               int64_t granule_bytes = 256);

/// A message of compressed gradients: what travels, and when it can leave.
using Message = PlanInputs::Part;

/// When the messages of compressed steps have arrived, the mean of steps that differ.
/// @param dense  whose link they take, and whose backward they run beside
[[nodiscard]] double compressed_finish(const PlanInputs& dense, std::span<const std::vector<Message>> steps);

/// The bandwidth below which a compressed exchange beats the dense one, by equal finish of the best plans.
/// @param compressed  messages of each kind of step
/// @param added_s     compute that compression adds
/// @return bytes per second; 0 if compression never wins, infinity if it always does
[[nodiscard]] double break_even_bandwidth(const PlanInputs& dense, std::span<const std::vector<Message>> compressed,
                                          double added_s);

} // namespace gradwind::parallel
