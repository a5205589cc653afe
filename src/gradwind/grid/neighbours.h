// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Nearest neighbours and neighbours within a radius, by chord length.
#pragma once
#include "gradwind/grid/sphere.h"

#include <cstdint>
#include <memory>

namespace gradwind::grid
{

/// One list of points per query: entries [offsets[q], offsets[q + 1]) belong to query q.
struct NeighbourLists {
    std::vector<int64_t> offsets{0};
    std::vector<int32_t> ids;
    std::vector<double> chords; ///< parallel to ids
    [[nodiscard]] int64_t n_queries() const { return static_cast<int64_t>(offsets.size()) - 1; }
};

/// A k-d tree over points on the sphere. Searches run on several threads; results do not depend on their number, and
/// points at equal distance are taken in the order of their index.
class NeighbourTree
{
public:
    explicit NeighbourTree(UnitVectors points);
    ~NeighbourTree();
    NeighbourTree(NeighbourTree&&) noexcept;
    NeighbourTree& operator=(NeighbourTree&&) noexcept;

    [[nodiscard]] const UnitVectors& points() const;

    /// The k nearest points of every query, nearest first. @throws ConfigError unless 1 <= k <= number of points
    [[nodiscard]] NeighbourLists nearest(const UnitVectors& queries, int64_t k) const;

    /// The points within a chord of every query, in the order of their index; where there are more than
    /// `max_per_query`, the nearest of them. @throws ConfigError unless radius > 0 and max_per_query >= 1
    [[nodiscard]] NeighbourLists within(const UnitVectors& queries, double radius, int64_t max_per_query) const;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// Largest chord between a point and its nearest other point; coinciding points do not count (spec §1.1).
/// @throws DataError if there are no two different points
[[nodiscard]] double reference_distance(const NeighbourTree& tree);

} // namespace gradwind::grid
