// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/window_plan.h"

#include "gradwind/core/error.h"

#include <algorithm>

namespace gradwind::parallel
{
namespace
{

/// Sources that a range of destinations sees; from 0 to the number of sources.
Span seen_by(const Span& destinations, int64_t window, int64_t n_sources)
{
    if (destinations.size == 0)
        return {};
    const auto begin = std::clamp<int64_t>(destinations.begin - window, 0, n_sources);
    // A window may be as wide as an integer.
    const auto reach = std::min(window, n_sources + 1);
    const auto end = std::clamp<int64_t>(destinations.end() + reach, begin, n_sources);
    return {begin, end - begin};
}

std::vector<Span> seen_by_all(const Partition& sources, const Partition& destinations, int64_t window)
{
    GRADWIND_CHECK(sources.n_parts() == destinations.n_parts() && window >= 0, InternalError,
                   "[window_plan] {} and {} parts, a window of {}", sources.n_parts(), destinations.n_parts(), window);
    std::vector<Span> seen;
    for (int part = 0; part < destinations.n_parts(); ++part) {
        const auto range = destinations.range(part);
        GRADWIND_CHECK(range.has_value(), ConfigError,
                       "[sequence] attention in a window needs consecutive nodes on every process, but the {} nodes of "
                       "process {} are scattered; use training.strategy.partition=contiguous or shard_strategy=heads",
                       destinations.size(part), part);
        seen.push_back(seen_by(*range, window, sources.n_rows()));
    }
    return seen;
}

bool contains(const Span& span, int64_t row)
{
    return row >= span.begin && row < span.end();
}

/// Local numbers of the rows of a part that lie in a span.
std::vector<int64_t> local_rows_in(const Partition& sources, int part, const Span& span)
{
    std::vector<int64_t> result;
    for (const auto row : sources.rows(part))
        if (contains(span, row))
            result.push_back(sources.local(row));
    return result;
}

} // namespace

WindowPlan make_window_plan(const Partition& sources, const Partition& destinations, int64_t window, int rank)
{
    const auto seen = seen_by_all(sources, destinations, window);
    const auto& own = seen.at(size_t(rank));
    WindowPlan plan;
    auto& exchange = plan.exchange;
    exchange.n_owned = sources.size(rank);
    exchange.n_destinations = destinations.size(rank);
    plan.query_position = destinations.range(rank)->begin - own.begin;
    exchange.src.assign(size_t(own.size), -1);
    for (int peer = 0; peer < sources.n_parts(); ++peer) {
        const auto arriving = local_rows_in(sources, peer, own);
        for (const auto local : arriving) {
            const auto row = sources.rows(peer)[size_t(local)];
            exchange.src[size_t(row - own.begin)] = peer == rank ? local : exchange.n_owned + exchange.n_halo();
            if (peer != rank)
                exchange.halo.push_back(row);
        }
        exchange.receive_rows.push_back(peer == rank ? 0 : int64_t(arriving.size()));
        const auto leaving = peer == rank ? std::vector<int64_t>{} : local_rows_in(sources, rank, seen[size_t(peer)]);
        exchange.send.insert(exchange.send.end(), leaving.begin(), leaving.end());
        exchange.send_rows.push_back(int64_t(leaving.size()));
    }
    return plan;
}

HaloCount count_window_halo(const Partition& sources, const Partition& destinations, int64_t window)
{
    const auto seen = seen_by_all(sources, destinations, window);
    HaloCount result = count_rows(sources, destinations);
    for (size_t part = 0; part < seen.size(); ++part) {
        auto& own = result.parts[part];
        const auto range = *destinations.range(int(part));
        for (int64_t i = range.begin; i < range.end(); ++i)
            own.n_edges += seen_by({i, 1}, window, sources.n_rows()).size;
        std::vector<uint8_t> sends(seen.size(), 0);
        for (int64_t row = seen[part].begin; row < seen[part].end(); ++row) {
            const auto owner = size_t(sources.owner(row));
            if (owner == part)
                continue;
            ++own.n_halo;
            ++result.parts[owner].n_send;
            sends[owner] = 1;
        }
        own.n_neighbours = int(std::count(sends.begin(), sends.end(), 1));
    }
    return result;
}

bool has_ranges(const Partition& partition)
{
    for (int part = 0; part < partition.n_parts(); ++part)
        if (!partition.range(part))
            return false;
    return true;
}

} // namespace gradwind::parallel
