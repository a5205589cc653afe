// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/grid/neighbours.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <nanoflann.hpp>

#include "gradwind/core/error.h"
#include "gradwind/grid/threads.h"

namespace gradwind::grid
{

namespace
{

struct Neighbour {
    double distance2;
    int32_t id;
    bool operator<(const Neighbour& other) const
    {
        return distance2 != other.distance2 ? distance2 < other.distance2 : id < other.id;
    }
};

// What nanoflann reads the points through; double, so that differences of coordinates are exact.
struct PointCloud {
    UnitVectors points;
    [[nodiscard]] size_t kdtree_get_point_count() const { return points.size(); }
    [[nodiscard]] double kdtree_get_pt(uint32_t i, size_t dimension) const
    {
        return static_cast<double>(points.xyz[3 * static_cast<size_t>(i) + dimension]);
    }
    template <class Box>
    bool kdtree_get_bbox(Box&) const
    {
        return false;
    }
};

using Metric = nanoflann::L2_Simple_Adaptor<double, PointCloud, double, uint32_t>;
using Tree = nanoflann::KDTreeSingleIndexAdaptor<Metric, PointCloud, 3, uint32_t>;

// nanoflann offers what is strictly nearer than worstDist(): one step above the k-th distance lets ties in, so that the
// index decides between them and not the shape of the tree.
class NearestSet
{
public:
    NearestSet(Neighbour* best, size_t k) : best_(best), k_(k) {}
    [[nodiscard]] size_t size() const { return count_; }
    [[nodiscard]] bool full() const { return count_ == k_; }
    [[nodiscard]] double worstDist() const
    {
        constexpr double infinity = std::numeric_limits<double>::infinity();
        return full() ? std::nextafter(best_[k_ - 1].distance2, infinity) : infinity;
    }
    bool addPoint(double distance2, uint32_t id)
    {
        const Neighbour neighbour{distance2, static_cast<int32_t>(id)};
        if (full() && !(neighbour < best_[k_ - 1]))
            return true;
        size_t at = full() ? k_ - 1 : count_++;
        for (; at > 0 && neighbour < best_[at - 1]; --at)
            best_[at] = best_[at - 1];
        best_[at] = neighbour;
        return true;
    }

private:
    Neighbour* best_;
    size_t k_;
    size_t count_ = 0;
};

class RadiusSet
{
public:
    RadiusSet(std::vector<Neighbour>& found, double radius2)
        : found_(found), limit_(std::nextafter(radius2, std::numeric_limits<double>::infinity())), radius2_(radius2)
    {
    }
    [[nodiscard]] size_t size() const { return found_.size(); }
    [[nodiscard]] bool full() const { return true; }
    [[nodiscard]] double worstDist() const { return limit_; }
    bool addPoint(double distance2, uint32_t id)
    {
        if (distance2 <= radius2_)
            found_.push_back({distance2, static_cast<int32_t>(id)});
        return true;
    }

private:
    std::vector<Neighbour>& found_;
    double limit_;
    double radius2_;
};

template <class Set>
void search(const Tree& tree, const float* point, Set& set)
{
    const std::array<double, 3> query{point[0], point[1], point[2]};
    tree.findNeighbors(set, query.data(), nanoflann::SearchParams());
}

} // namespace

struct NeighbourTree::Impl {
    explicit Impl(UnitVectors points)
        : cloud{std::move(points)}, tree(3, cloud, nanoflann::KDTreeSingleIndexAdaptorParams(16))
    {
    }
    PointCloud cloud;
    Tree tree;
};

NeighbourTree::NeighbourTree(UnitVectors points)
{
    GRADWIND_CHECK(points.size() > 0, DataError, "[grid] neighbour search needs at least one point, got none");
    for (const float value : points.xyz)
        GRADWIND_CHECK(std::isfinite(value), DataError, "[grid] neighbour search met a coordinate that is not finite");
    impl_ = std::make_unique<Impl>(std::move(points));
}

NeighbourTree::~NeighbourTree() = default;
NeighbourTree::NeighbourTree(NeighbourTree&&) noexcept = default;
NeighbourTree& NeighbourTree::operator=(NeighbourTree&&) noexcept = default;

const UnitVectors& NeighbourTree::points() const
{
    return impl_->cloud.points;
}

NeighbourLists NeighbourTree::nearest(const UnitVectors& queries, int64_t k) const
{
    GRADWIND_CHECK(k >= 1 && k <= static_cast<int64_t>(points().size()), ConfigError,
                   "[grid] asked for the {} nearest of {} points; ask for 1 to {}", k, points().size(),
                   points().size());
    const size_t n = queries.size();
    const size_t count = static_cast<size_t>(k);
    NeighbourLists lists;
    lists.offsets.resize(n + 1);
    for (size_t q = 0; q <= n; ++q)
        lists.offsets[q] = static_cast<int64_t>(q * count);
    lists.ids.resize(n * count);
    lists.chords.resize(n * count);
    for_each_chunk(static_cast<int64_t>(n), [&](int64_t begin, int64_t end) {
        std::vector<Neighbour> best(count);
        for (auto q = static_cast<size_t>(begin); q < static_cast<size_t>(end); ++q) {
            NearestSet set(best.data(), count);
            search(impl_->tree, queries[q], set);
            for (size_t i = 0; i < count; ++i) {
                lists.ids[q * count + i] = best[i].id;
                lists.chords[q * count + i] = std::sqrt(best[i].distance2);
            }
        }
    });
    return lists;
}

NeighbourLists NeighbourTree::within(const UnitVectors& queries, double radius, int64_t max_per_query) const
{
    GRADWIND_CHECK(radius > 0 && std::isfinite(radius), ConfigError, "[grid] a search radius must be positive, got {}",
                   radius);
    GRADWIND_CHECK(max_per_query >= 1, ConfigError, "[grid] the cap on neighbours must be at least 1, got {}",
                   max_per_query);
    const size_t n = queries.size();
    const auto cap = static_cast<size_t>(max_per_query);
    std::vector<std::vector<Neighbour>> chunks(n); // what a chunk found, under the number of its first query
    NeighbourLists lists;
    lists.offsets.resize(n + 1);
    for_each_chunk(static_cast<int64_t>(n), [&](int64_t begin, int64_t end) {
        std::vector<Neighbour> found;
        std::vector<Neighbour>& chunk = chunks[static_cast<size_t>(begin)];
        for (auto q = static_cast<size_t>(begin); q < static_cast<size_t>(end); ++q) {
            found.clear();
            RadiusSet set(found, radius * radius);
            search(impl_->tree, queries[q], set);
            if (found.size() > cap) {
                std::nth_element(found.begin(), found.begin() + max_per_query, found.end());
                found.resize(cap);
            }
            std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
            lists.offsets[q + 1] = static_cast<int64_t>(found.size());
            chunk.insert(chunk.end(), found.begin(), found.end());
        }
    });
    for (size_t q = 0; q < n; ++q)
        lists.offsets[q + 1] += lists.offsets[q];
    lists.ids.reserve(static_cast<size_t>(lists.offsets[n]));
    lists.chords.reserve(static_cast<size_t>(lists.offsets[n]));
    for (const std::vector<Neighbour>& chunk : chunks) {
        for (const Neighbour& neighbour : chunk) {
            lists.ids.push_back(neighbour.id);
            lists.chords.push_back(std::sqrt(neighbour.distance2));
        }
    }
    return lists;
}

double reference_distance(const NeighbourTree& tree)
{
    double largest = 0;
    if (tree.points().size() >= 2) {
        const NeighbourLists lists = tree.nearest(tree.points(), 2);
        largest = *std::max_element(lists.chords.begin(), lists.chords.end());
    }
    GRADWIND_CHECK(largest > 0, DataError, "[grid] the spacing of {} points is not defined: no two of them differ",
                   tree.points().size());
    return largest;
}

} // namespace gradwind::grid
