// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Which rows a rank sends and receives so that it can work on its edges. No communication, no torch.
#pragma once
#include "gradwind/parallel/partition.h"

namespace gradwind::parallel
{

/// One rank's share of an edge set whose sources and destinations are cut over a model group: the edges that arrive at
/// its destinations, and the exchange that brings their sources. Source rows are numbered owned first, then halo.
struct ExchangePlan {
    int64_t n_owned = 0;               ///< source rows of this rank
    int64_t n_destinations = 0;        ///< destination rows of this rank
    std::vector<int64_t> halo;         ///< global source rows to receive, by owner, ascending for each
    std::vector<int64_t> receive_rows; ///< how many of them come from each rank
    std::vector<int64_t> send;         ///< local source rows to send, by receiver, ascending for each
    std::vector<int64_t> send_rows;    ///< how many of them go to each rank
    std::vector<int64_t> edges;        ///< numbers of this rank's edges in the whole list
    std::vector<int64_t> src;          ///< local source row of each of them: owned, or n_owned + position in `halo`
    std::vector<int64_t> dst;          ///< local destination row of each of them, ascending

    [[nodiscard]] int64_t n_halo() const { return static_cast<int64_t>(halo.size()); }
    [[nodiscard]] int64_t n_send() const { return static_cast<int64_t>(send.size()); }
    /// `src` where there are several copies of the node set: rows lie copy by copy for the owned ones, then owner by
    /// owner and for each copy by copy, as they arrive. [copies * edges]
    [[nodiscard]] std::vector<int64_t> sources_of_copies(int64_t copies) const;
};

/// Any graph will do: asymmetric, bipartite, without edges here and there. Ranks need not agree on anything but the
/// arguments.
/// @param src, dst  one per edge, dst ascending
/// @throws ShapeError if dst is not ascending or an id is out of range
[[nodiscard]] ExchangePlan make_exchange_plan(const Partition& sources, const Partition& destinations,
                                              std::span<const int64_t> src, std::span<const int64_t> dst, int rank);

} // namespace gradwind::parallel
