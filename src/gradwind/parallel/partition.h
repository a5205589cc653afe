// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Which rank of a model group owns which rows of a node set. No communication, no torch.
#pragma once
#include "gradwind/graph/graph.h"
#include "gradwind/parallel/layout.h"

#include <optional>
#include <span>

namespace gradwind::parallel
{

/// The rows of a node set cut into parts, one for each rank of a model group. A part may be empty.
class Partition
{
public:
    /// All rows in one part.
    explicit Partition(int64_t n_rows = 0) : Partition(contiguous(n_rows, 1)) {}
    /// Ranges of rows whose sizes differ by at most one (spec 12.3).
    [[nodiscard]] static Partition contiguous(int64_t n_rows, int n_parts);
    /// @param owner  the part of every row @throws InternalError for a part that does not exist
    [[nodiscard]] static Partition from_owners(std::vector<int32_t> owner, int n_parts);

    [[nodiscard]] int n_parts() const { return static_cast<int>(begin_.size()) - 1; }
    [[nodiscard]] int64_t n_rows() const { return static_cast<int64_t>(owner_.size()); }
    [[nodiscard]] int64_t size(int part) const { return begin_[part + 1] - begin_[part]; }
    /// Sizes of all parts.
    [[nodiscard]] std::vector<int64_t> sizes() const;
    /// Rows of a part, ascending: row rows(part)[i] is its local row i.
    [[nodiscard]] std::span<const int64_t> rows(int part) const;
    /// The rows of a part where they are consecutive.
    [[nodiscard]] std::optional<Span> range(int part) const;
    [[nodiscard]] int owner(int64_t row) const { return owner_[row]; }
    [[nodiscard]] int64_t local(int64_t row) const { return local_[row]; }

private:
    struct Empty {
    };
    explicit Partition(Empty) {}
    std::vector<int32_t> owner_; ///< by row
    std::vector<int64_t> local_; ///< by row
    std::vector<int64_t> rows_;  ///< part by part
    std::vector<int64_t> begin_; ///< [n_parts + 1], into rows_
};

enum class PartitionKind {
    Contiguous, ///< ranges in the order of the nodes: of nodes from north to south, bands
    Bisection   ///< patches
};

/// Cuts node sets by the same planes: recursive inertial bisection of their positions on the sphere.
///
/// The first set is cut evenly, sizes differ by at most one; how even the others are depends on how alike they lie.
[[nodiscard]] std::vector<Partition> bisection(std::span<const graph::NodeSet* const> sets, int n_parts);

/// One partition for each node set. @throws ConfigError if a set has fewer rows than there are parts, or a part of it
/// would be empty
[[nodiscard]] std::vector<Partition> make_partitions(PartitionKind kind, std::span<const graph::NodeSet* const> sets,
                                                     int n_parts);

/// What the edges of one edge set cost where every rank has the edges that arrive at its destinations.
struct HaloCount {
    struct Part {
        int64_t n_sources = 0;      ///< owned
        int64_t n_destinations = 0; ///< owned
        int64_t n_halo = 0;         ///< remote sources that its edges need
        int64_t n_send = 0;         ///< rows sent, counted once for each receiver
        int64_t n_edges = 0;
        int n_neighbours = 0; ///< ranks it receives from
        [[nodiscard]] double ratio() const { return n_sources ? double(n_halo) / double(n_sources) : 0; }
    };
    std::vector<Part> parts;

    [[nodiscard]] double mean_ratio() const;
    [[nodiscard]] double worst_ratio() const;
    [[nodiscard]] int64_t worst_halo() const;
    [[nodiscard]] int most_neighbours() const;
    /// Most edges of a rank over the mean.
    [[nodiscard]] double edge_imbalance() const;
    /// Most sources of a rank over the mean.
    [[nodiscard]] double source_imbalance() const;
};

/// Where nothing is exchanged along edges: rows only.
[[nodiscard]] HaloCount count_rows(const Partition& sources, const Partition& destinations);

/// @param src, dst  one per edge, in any order
[[nodiscard]] HaloCount count_halo(const Partition& sources, const Partition& destinations,
                                   std::span<const int32_t> src, std::span<const int32_t> dst);

} // namespace gradwind::parallel
