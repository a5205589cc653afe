// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/exchange_plan.h"

#include "gradwind/core/error.h"

#include <algorithm>

namespace gradwind::parallel
{
namespace
{

/// A source row and the other rank that has or wants it.
struct Pair {
    int32_t rank;
    int64_t row;
    auto operator<=>(const Pair&) const = default;
};

void keep_unique(std::vector<Pair>& pairs)
{
    std::sort(pairs.begin(), pairs.end());
    pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());
}

std::vector<int64_t> count_by_rank(const std::vector<Pair>& pairs, int n_ranks)
{
    std::vector<int64_t> counts(n_ranks, 0);
    for (const Pair& pair : pairs)
        ++counts[pair.rank];
    return counts;
}

void check_edge(const Partition& sources, const Partition& destinations, std::span<const int64_t> src,
                std::span<const int64_t> dst, size_t e)
{
    GRADWIND_CHECK(src[e] >= 0 && src[e] < sources.n_rows() && dst[e] >= 0 && dst[e] < destinations.n_rows(),
                   ShapeError,
                   "[exchange_plan] edge {} goes from {} to {}, but there are {} sources and {} destinations", e,
                   src[e], dst[e], sources.n_rows(), destinations.n_rows());
    GRADWIND_CHECK(e == 0 || dst[e - 1] <= dst[e], ShapeError,
                   "[exchange_plan] edges must be sorted by destination; edge {} ends at {} after {}", e, dst[e],
                   dst[e - 1]);
}

} // namespace

std::vector<int64_t> ExchangePlan::sources_of_copies(int64_t copies) const
{
    // Where halo row h of copy c lies: behind the halo rows of all copies from the owners before its own.
    std::vector<int64_t> first(halo.size()), step(halo.size());
    int64_t before = 0;
    for (const int64_t count : receive_rows) {
        for (int64_t i = 0; i < count; ++i) {
            first[before + i] = copies * (n_owned + before) + i;
            step[before + i] = count;
        }
        before += count;
    }
    std::vector<int64_t> result;
    result.reserve(src.size() * copies);
    for (int64_t copy = 0; copy < copies; ++copy)
        for (const int64_t row : src)
            result.push_back(row < n_owned ? copy * n_owned + row : first[row - n_owned] + copy * step[row - n_owned]);
    return result;
}

ExchangePlan make_exchange_plan(const Partition& sources, const Partition& destinations, std::span<const int64_t> src,
                                std::span<const int64_t> dst, int rank)
{
    const int n_ranks = sources.n_parts();
    GRADWIND_CHECK(destinations.n_parts() == n_ranks && rank >= 0 && rank < n_ranks && src.size() == dst.size(),
                   InternalError, "[exchange_plan] rank {} of {} and {} parts, {} sources and {} destinations", rank,
                   n_ranks, destinations.n_parts(), src.size(), dst.size());
    ExchangePlan plan;
    plan.n_owned = sources.size(rank);
    plan.n_destinations = destinations.size(rank);
    std::vector<Pair> receive, send;
    for (size_t e = 0; e < src.size(); ++e) {
        check_edge(sources, destinations, src, dst, e);
        const int owner = sources.owner(src[e]), receiver = destinations.owner(dst[e]);
        if (receiver == rank) {
            plan.edges.push_back(static_cast<int64_t>(e));
            plan.dst.push_back(destinations.local(dst[e]));
            if (owner != rank)
                receive.push_back({owner, src[e]});
        } else if (owner == rank) {
            send.push_back({receiver, src[e]});
        }
    }
    keep_unique(receive);
    keep_unique(send);
    plan.receive_rows = count_by_rank(receive, n_ranks);
    plan.send_rows = count_by_rank(send, n_ranks);
    for (const Pair& pair : send)
        plan.send.push_back(sources.local(pair.row));
    for (const Pair& pair : receive)
        plan.halo.push_back(pair.row);
    for (const int64_t e : plan.edges) {
        const Pair wanted{sources.owner(src[e]), src[e]};
        plan.src.push_back(wanted.rank == rank
                               ? sources.local(src[e])
                               : plan.n_owned +
                                     (std::lower_bound(receive.begin(), receive.end(), wanted) - receive.begin()));
    }
    return plan;
}

} // namespace gradwind::parallel
