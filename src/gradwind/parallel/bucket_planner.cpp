// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/bucket_planner.h"

#include "gradwind/core/error.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace gradwind::parallel
{
namespace
{

int64_t total_bytes(const PlanInputs& inputs)
{
    int64_t sum = 0;
    for (const auto& part : inputs.parts)
        sum += part.bytes;
    return sum;
}

/// Compute takes longer while collectives run beside it: by how much, to first order independent of the plan.
double stretch(const PlanInputs& inputs)
{
    if (inputs.backward_s <= 0)
        return 1;
    const double beside =
        std::min(inputs.backward_s, static_cast<double>(total_bytes(inputs)) / inputs.link.bytes_per_s);
    return 1 + inputs.link.contention * beside / inputs.backward_s;
}

/// A place where the arena may be cut, and when everything before it is ready.
struct Cut {
    int64_t bytes = 0;
    double ready_s = 0;
};

/// Cuts at the ends of parts, and inside parts that are large beside the whole. The first cut is 0.
std::vector<Cut> cuts_of(const PlanInputs& inputs, int64_t max_cuts)
{
    const int64_t total = total_bytes(inputs), granule = std::max<int64_t>(1, inputs.granule_bytes);
    const int64_t step = std::max(granule, (total / std::max<int64_t>(1, max_cuts) + granule - 1) / granule * granule);
    const bool few = static_cast<int64_t>(inputs.parts.size()) <= max_cuts;
    const double factor = stretch(inputs);
    std::vector<Cut> cuts = {{0, 0}};
    int64_t begin = 0;
    double ready = 0;
    for (const auto& part : inputs.parts) {
        ready = std::max(ready, part.ready_s * factor);
        const int64_t end = begin + part.bytes;
        // The next multiples of the step inside this part.
        for (int64_t at = cuts.back().bytes + step; at < end; at += step)
            if (at > begin)
                cuts.push_back({at / granule * granule, ready});
        begin = end;
        const bool is_cut = few || end == total || end - cuts.back().bytes >= step;
        if (is_cut && end > cuts.back().bytes)
            cuts.push_back({end, ready});
    }
    return cuts;
}

} // namespace

PlannedExchange predict_exchange(const PlanInputs& inputs, std::span<const int64_t> bucket_bytes)
{
    const int64_t total = total_bytes(inputs);
    GRADWIND_CHECK(std::accumulate(bucket_bytes.begin(), bucket_bytes.end(), int64_t{0}) == total, ConfigError,
                   "[plan] expected buckets of {} bytes together, found {}", total,
                   std::accumulate(bucket_bytes.begin(), bucket_bytes.end(), int64_t{0}));
    const double factor = stretch(inputs);
    PlannedExchange result;
    size_t part = 0;
    int64_t part_end = inputs.parts.empty() ? 0 : inputs.parts[0].bytes, end = 0;
    double ready = 0;
    for (const int64_t bytes : bucket_bytes) {
        end += bytes;
        for (; part < inputs.parts.size();
             ++part, part_end += part < inputs.parts.size() ? inputs.parts[part].bytes : 0) {
            ready = std::max(ready, inputs.parts[part].ready_s * factor);
            if (part_end >= end)
                break;
        }
        const double seconds = inputs.link.seconds(static_cast<double>(bytes));
        result.finish_s = std::max(ready, result.finish_s) + seconds;
        result.communication_s += seconds;
    }
    const double backward = inputs.backward_s * factor;
    result.finish_s = std::max(result.finish_s, backward);
    result.exposed_s = result.finish_s - backward;
    return result;
}

std::vector<int64_t> plan_exchange(const PlanInputs& inputs, int64_t max_cuts)
{
    const auto cuts = cuts_of(inputs, max_cuts);
    const size_t n = cuts.size() - 1; // buckets end at cuts 1..n
    if (n == 0)
        return {0};
    const auto seconds = [&](size_t from, size_t to) {
        return inputs.link.seconds(static_cast<double>(cuts[to].bytes - cuts[from].bytes));
    };
    // Arriving earlier never hurts what follows, so the best finish of a prefix is all that counts.
    std::vector<double> best(n + 1, std::numeric_limits<double>::infinity());
    best[0] = 0;
    for (size_t to = 1; to <= n; ++to)
        for (size_t from = 0; from < to; ++from)
            best[to] = std::min(best[to], std::max(cuts[to].ready_s, best[from]) + seconds(from, to));
    // From the end: the largest bucket whose predecessors can still be there in time.
    std::vector<int64_t> sizes;
    double deadline = best[n] + inputs.slack * inputs.backward_s;
    for (size_t to = n; to > 0;) {
        size_t chosen = to - 1;
        for (size_t from = 0; from < to; ++from) {
            const double start = deadline - seconds(from, to);
            if (cuts[to].ready_s <= start + 1e-12 && best[from] <= start + 1e-12) {
                chosen = from;
                break;
            }
        }
        sizes.push_back(cuts[to].bytes - cuts[chosen].bytes);
        deadline -= seconds(chosen, to);
        to = chosen;
    }
    std::reverse(sizes.begin(), sizes.end());
    return sizes;
}

std::vector<int64_t> tail_shaped(int64_t total_bytes, int64_t cap_bytes, int64_t tail_bytes, int64_t granule_bytes)
{
    GRADWIND_CHECK(cap_bytes > 0 && tail_bytes > 0 && granule_bytes > 0, ConfigError,
                   "[plan] expected sizes above 0, found a cap of {} and a tail of {} bytes", cap_bytes, tail_bytes);
    const auto whole = [&](int64_t bytes) { return std::max(granule_bytes, bytes / granule_bytes * granule_bytes); };
    std::vector<int64_t> backwards;
    int64_t left = total_bytes;
    for (int64_t size = std::min(tail_bytes, cap_bytes); left > 0; size = std::min(2 * size, cap_bytes)) {
        backwards.push_back(std::min(whole(size), left));
        left -= backwards.back();
    }
    std::reverse(backwards.begin(), backwards.end());
    return backwards;
}

double compressed_finish(const PlanInputs& dense, std::span<const std::vector<Message>> steps)
{
    PlanInputs inputs = dense;
    double sum = 0;
    for (const auto& messages : steps) {
        inputs.parts = messages;
        std::vector<int64_t> sizes;
        for (const auto& message : messages)
            sizes.push_back(message.bytes);
        sum += predict_exchange(inputs, sizes).finish_s;
    }
    return sum / static_cast<double>(steps.size());
}

double break_even_bandwidth(const PlanInputs& dense, std::span<const std::vector<Message>> compressed, double added_s)
{
    const auto dense_wins = [&](double bytes_per_s) {
        PlanInputs at = dense;
        at.link.bytes_per_s = bytes_per_s;
        return predict_exchange(at, plan_exchange(at, 256)).finish_s <= compressed_finish(at, compressed) + added_s;
    };
    double slow = 1e3, fast = 1e15;
    if (dense_wins(slow))
        return 0;
    if (!dense_wins(fast))
        return std::numeric_limits<double>::infinity();
    for (int i = 0; i < 60; ++i) {
        const double middle = std::sqrt(slow * fast);
        (dense_wins(middle) ? fast : slow) = middle;
    }
    return std::sqrt(slow * fast);
}

} // namespace gradwind::parallel
