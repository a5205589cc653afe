// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/low_rank_plan.h"

#include "gradwind/core/error.h"

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>

namespace gradwind::parallel::detail
{
namespace
{

/// Where messages of factors end, in hundredths of all elements. A few messages only, since they cost latency before
/// bandwidth; the first is small so that a slow link starts early, and the last because nothing hides it.
constexpr std::array<int64_t, 5> kEnds = {10, 40, 70, 90, 100};
/// Parts of messages begin where a GPU can read several elements at once.
int64_t aligned(int64_t elements)
{
    constexpr int64_t kUnit = 64;
    return (elements + kUnit - 1) / kUnit * kUnit;
}

int64_t rounded_up(int64_t value, int64_t granule)
{
    return (value + granule - 1) / granule * granule;
}

} // namespace

MatrixSize matrix_size(const std::vector<int64_t>& shape, int64_t rank)
{
    if (shape.size() < 2 || shape[0] == 0)
        return {};
    const int64_t numel = std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
    const int64_t columns = numel / shape[0];
    return {shape[0], columns, std::min({rank, shape[0], columns})};
}

bool is_compressible(const std::vector<int64_t>& shape, const CompressionOptions& options)
{
    const auto [rows, columns, rank] = matrix_size(shape, options.rank);
    return rank > 0 &&
           static_cast<double>((rows + columns) * rank) * options.min_ratio < static_cast<double>(rows * columns);
}

std::vector<size_t> low_rank_order(const std::vector<std::vector<int64_t>>& shapes,
                                   const std::vector<size_t>& ready_order, const CompressionOptions& options)
{
    const auto numel = [&](size_t index) {
        return std::accumulate(shapes[index].begin(), shapes[index].end(), int64_t{1}, std::multiplies<>());
    };
    int64_t total = 0, done = 0;
    for (const size_t index : ready_order)
        total += numel(index);
    std::vector<size_t> order;
    for (size_t begin = 0, bucket = 0; begin < ready_order.size(); ++bucket) {
        size_t end = begin;
        while (end < ready_order.size() &&
               (end == begin || done < total * kEnds[std::min(bucket, kEnds.size() - 1)] / 100))
            done += numel(ready_order[end++]);
        std::vector<size_t> group(ready_order.begin() + static_cast<std::ptrdiff_t>(begin),
                                  ready_order.begin() + static_cast<std::ptrdiff_t>(end));
        std::stable_sort(group.begin(), group.end(), [&](size_t a, size_t b) {
            const bool a_matrix = is_compressible(shapes[a], options), b_matrix = is_compressible(shapes[b], options);
            return a_matrix != b_matrix ? a_matrix : a_matrix && shapes[a] > shapes[b];
        });
        order.insert(order.end(), group.begin(), group.end());
        begin = end;
    }
    return order;
}

std::vector<int64_t> low_rank_ends(const std::vector<Slice>& slices, int64_t numel, const CompressionOptions& options)
{
    std::vector<int64_t> ends;
    for (size_t place = 1; place < slices.size(); ++place)
        if (is_compressible(slices[place].shape, options) && !is_compressible(slices[place - 1].shape, options) &&
            slices[place].offset > 0)
            ends.push_back(slices[place].offset);
    ends.push_back(numel);
    return ends;
}

namespace
{

/// The slices from `place` on that end at or before `end`.
LowRankBucket plan_bucket(const std::vector<Slice>& slices, int64_t numel, size_t& place, int64_t end,
                          const CompressionOptions& options)
{
    const auto is_matrix = [&](size_t at) { return is_compressible(slices[at].shape, options); };
    LowRankBucket bucket;
    while (place < slices.size() && slices[place].offset < end) {
        const size_t first = place;
        const bool matrix = is_matrix(first);
        while (place < slices.size() && slices[place].offset < end &&
               (matrix ? slices[place].shape == slices[first].shape : !is_matrix(place)))
            ++place;
        if (!matrix) {
            bucket.ranges.emplace_back(slices[first].offset, place < slices.size() ? slices[place].offset : numel);
            continue;
        }
        const auto count = static_cast<int64_t>(place - first);
        bucket.runs.push_back({first, count, matrix_size(slices[first].shape, options.rank)});
        const auto& size = bucket.runs.back().size;
        bucket.p_size += count * size.rows * size.rank;
        bucket.q_size += count * size.columns * size.rank;
    }
    GRADWIND_ASSERT((place < slices.size() ? slices[place].offset : numel) == end);
    return bucket;
}

} // namespace

std::vector<LowRankBucket> plan_low_rank(const std::vector<Slice>& slices, int64_t numel,
                                         const std::vector<int64_t>& ends, const CompressionOptions& options,
                                         int64_t granule)
{
    std::vector<LowRankBucket> buckets;
    size_t place = 0;
    for (const int64_t end : ends) {
        auto bucket = plan_bucket(slices, numel, place, end, options);
        int64_t rest = 0;
        for (const auto& [from, to] : bucket.ranges)
            rest += to - from;
        bucket.p_rest = aligned(bucket.p_size);
        bucket.q_rest = aligned(bucket.q_size);
        bucket.p_message = rounded_up(bucket.p_rest + rest, granule);
        bucket.q_message = rounded_up(bucket.q_rest + rest, granule);
        bucket.q_factors = rounded_up(bucket.q_size, granule);
        buckets.push_back(std::move(bucket));
    }
    return buckets;
}

} // namespace gradwind::parallel::detail
