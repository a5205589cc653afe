// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/partition.h"

#include "gradwind/core/error.h"
#include "gradwind/grid/sphere.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

namespace gradwind::parallel
{

Partition Partition::contiguous(int64_t n_rows, int n_parts)
{
    std::vector<int32_t> owner;
    owner.reserve(n_rows);
    const auto sizes = balanced_partition(n_rows, n_parts);
    for (int part = 0; part < n_parts; ++part)
        owner.insert(owner.end(), sizes[part], part);
    return from_owners(std::move(owner), n_parts);
}

Partition Partition::from_owners(std::vector<int32_t> owner, int n_parts)
{
    GRADWIND_CHECK(n_parts >= 1, InternalError, "[partition] {} parts are asked for", n_parts);
    Partition result{Empty{}};
    result.begin_.assign(n_parts + 1, 0);
    for (const int32_t part : owner) {
        GRADWIND_CHECK(part >= 0 && part < n_parts, InternalError, "[partition] there is no part {} of {}", part,
                       n_parts);
        ++result.begin_[part + 1];
    }
    std::partial_sum(result.begin_.begin(), result.begin_.end(), result.begin_.begin());
    result.rows_.resize(owner.size());
    result.local_.resize(owner.size());
    std::vector<int64_t> next(n_parts, 0);
    for (size_t row = 0; row < owner.size(); ++row) {
        const int32_t part = owner[row];
        result.local_[row] = next[part]++;
        result.rows_[result.begin_[part] + result.local_[row]] = static_cast<int64_t>(row);
    }
    result.owner_ = std::move(owner);
    return result;
}

std::vector<int64_t> Partition::sizes() const
{
    std::vector<int64_t> result;
    for (int part = 0; part < n_parts(); ++part)
        result.push_back(size(part));
    return result;
}

std::span<const int64_t> Partition::rows(int part) const
{
    return std::span(rows_).subspan(begin_[part], size(part));
}

std::optional<Span> Partition::range(int part) const
{
    const auto own = rows(part);
    if (own.empty())
        return Span{};
    if (own.back() - own.front() + 1 != static_cast<int64_t>(own.size()))
        return std::nullopt;
    return Span{own.front(), static_cast<int64_t>(own.size())};
}

namespace
{

using Vector = std::array<double, 3>;

double dot(const Vector& a, const Vector& b)
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

Vector normalised(const Vector& v)
{
    const double length = std::sqrt(dot(v, v));
    return {v[0] / length, v[1] / length, v[2] / length};
}

/// The eigenvector of the largest eigenvalue of a symmetric matrix, by cyclic Jacobi rotations.
Vector principal_axis(std::array<Vector, 3> a)
{
    std::array<Vector, 3> axes = {{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};
    for (int sweep = 0; sweep < 30; ++sweep)
        for (int p = 0; p < 2; ++p)
            for (int q = p + 1; q < 3; ++q) {
                if (std::abs(a[p][q]) <= 1e-15 * std::sqrt(std::abs(a[p][p] * a[q][q])))
                    continue;
                const double theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
                const double t = std::copysign(1.0, theta) / (std::abs(theta) + std::sqrt(theta * theta + 1));
                const double c = 1 / std::sqrt(t * t + 1), s = t * c;
                const auto rotate = [&](double& x, double& y) {
                    const double old = x;
                    x = c * old - s * y;
                    y = s * old + c * y;
                };
                for (int k = 0; k < 3; ++k)
                    rotate(a[k][p], a[k][q]);
                for (int k = 0; k < 3; ++k)
                    rotate(a[p][k], a[q][k]);
                for (auto& row : axes)
                    rotate(row[p], row[q]);
            }
    int largest = 0;
    for (int k = 1; k < 3; ++k)
        if (a[k][k] > a[largest][largest])
            largest = k;
    return normalised({axes[0][largest], axes[1][largest], axes[2][largest]});
}

/// A node set that is being cut.
struct Cut {
    grid::UnitVectors points;
    std::vector<int32_t> owner;
};

Vector position(const grid::UnitVectors& points, int64_t i)
{
    const float* p = points[i];
    return {p[0], p[1], p[2]};
}

/// The direction in which the rows extend furthest.
Vector longest_axis(const grid::UnitVectors& points, const std::vector<int64_t>& rows)
{
    Vector mean{};
    for (const int64_t row : rows)
        for (int k = 0; k < 3; ++k)
            mean[k] += points[row][k] / double(rows.size());
    std::array<Vector, 3> inertia{};
    for (const int64_t row : rows)
        for (int i = 0; i < 3; ++i)
            for (int j = 0; j < 3; ++j)
                inertia[i][j] += (points[row][i] - mean[i]) * (points[row][j] - mean[j]);
    // A whole sphere extends equally far in all directions: what rounding makes of that must not decide.
    const double spread = inertia[0][0] + inertia[1][1] + inertia[2][2];
    double uneven = 0;
    for (int i = 0; i < 3; ++i)
        for (int j = 0; j < 3; ++j)
            uneven = std::max(uneven, std::abs(inertia[i][j] - (i == j ? spread / 3 : 0)));
    return uneven < 1e-3 * spread ? Vector{0, 0, 1} : principal_axis(inertia);
}

/// Gives the rows of every set to parts [first, first + n_parts).
void bisect(std::vector<Cut>& sets, std::vector<std::vector<int64_t>> rows, int first, int n_parts)
{
    if (n_parts == 1) {
        for (size_t set = 0; set < sets.size(); ++set)
            for (const int64_t row : rows[set])
                sets[set].owner[row] = first;
        return;
    }
    const int n_left = n_parts / 2;
    const auto axis = longest_axis(sets[0].points, rows[0]);
    // Rows at equal heights go by their number, so that the cut is the same everywhere.
    struct Place {
        double height;
        int64_t row;
        auto operator<=>(const Place&) const = default;
    };
    std::vector<Place> order;
    for (const int64_t row : rows[0])
        order.push_back({dot(axis, position(sets[0].points, row)), row});
    std::sort(order.begin(), order.end(), [](const Place& a, const Place& b) { return a < b; });
    // Parts differ by at most one row: the first `n % n_parts` of them, seen from the left, have one more.
    const auto n = static_cast<int64_t>(order.size());
    const auto n_rows_left = n_left * (n / n_parts) + std::min<int64_t>(n_left, n % n_parts);
    double plane = 0;
    if (n_rows_left > 0 && n_rows_left < n)
        plane = (order[n_rows_left - 1].height + order[n_rows_left].height) / 2;
    std::vector<std::vector<int64_t>> left(sets.size()), right(sets.size());
    for (int64_t i = 0; i < n; ++i)
        (i < n_rows_left ? left : right)[0].push_back(order[i].row);
    for (size_t set = 1; set < sets.size(); ++set)
        for (const int64_t row : rows[set])
            (dot(axis, position(sets[set].points, row)) < plane ? left : right)[set].push_back(row);
    bisect(sets, std::move(left), first, n_left);
    bisect(sets, std::move(right), first + n_left, n_parts - n_left);
}

} // namespace

std::vector<Partition> bisection(std::span<const graph::NodeSet* const> sets, int n_parts)
{
    std::vector<Cut> cuts;
    std::vector<std::vector<int64_t>> rows;
    for (const auto* set : sets) {
        cuts.push_back({grid::unit_vectors(set->lat_rad, set->lon_rad), std::vector<int32_t>(set->size())});
        rows.emplace_back(set->size());
        std::iota(rows.back().begin(), rows.back().end(), int64_t{0});
    }
    if (!cuts.empty())
        bisect(cuts, std::move(rows), 0, n_parts);
    std::vector<Partition> result;
    for (auto& cut : cuts)
        result.push_back(Partition::from_owners(std::move(cut.owner), n_parts));
    return result;
}

std::vector<Partition> make_partitions(PartitionKind kind, std::span<const graph::NodeSet* const> sets, int n_parts)
{
    for (const auto* set : sets)
        GRADWIND_CHECK(set->size() >= n_parts, ConfigError,
                       "[partition] the {} nodes of `{}` cannot be shared by {} processes: every one needs at least "
                       "one; use system.hardware.num_gpus_per_model={} or less",
                       set->size(), set->name, n_parts, std::max<int64_t>(1, set->size()));
    std::vector<Partition> result;
    if (kind == PartitionKind::Bisection) {
        result = bisection(sets, n_parts);
    } else {
        for (const auto* set : sets)
            result.push_back(Partition::contiguous(set->size(), n_parts));
    }
    for (size_t i = 0; i < sets.size(); ++i)
        for (int part = 0; part < n_parts; ++part)
            GRADWIND_CHECK(result[i].size(part) > 0, ConfigError,
                           "[partition] cut by planes, part {} of {} has no node of `{}`: the node sets lie too "
                           "differently; use the contiguous partition",
                           part, n_parts, sets[i]->name);
    return result;
}

namespace
{

template <class Value>
double imbalance(const std::vector<HaloCount::Part>& parts, Value value)
{
    double most = 0, sum = 0;
    for (const auto& part : parts) {
        most = std::max(most, double(value(part)));
        sum += double(value(part));
    }
    return sum > 0 ? most * double(parts.size()) / sum : 1;
}

} // namespace

double HaloCount::mean_ratio() const
{
    double sum = 0;
    for (const Part& part : parts)
        sum += part.ratio();
    return sum / double(parts.size());
}

double HaloCount::worst_ratio() const
{
    double worst = 0;
    for (const Part& part : parts)
        worst = std::max(worst, part.ratio());
    return worst;
}

int64_t HaloCount::worst_halo() const
{
    int64_t worst = 0;
    for (const Part& part : parts)
        worst = std::max(worst, part.n_halo);
    return worst;
}

int HaloCount::most_neighbours() const
{
    int most = 0;
    for (const Part& part : parts)
        most = std::max(most, part.n_neighbours);
    return most;
}

double HaloCount::edge_imbalance() const
{
    return imbalance(parts, [](const Part& part) { return part.n_edges; });
}

double HaloCount::source_imbalance() const
{
    return imbalance(parts, [](const Part& part) { return part.n_sources; });
}

HaloCount count_rows(const Partition& sources, const Partition& destinations)
{
    GRADWIND_CHECK(sources.n_parts() == destinations.n_parts(), InternalError,
                   "[partition] sources and destinations are cut into {} and {} parts", sources.n_parts(),
                   destinations.n_parts());
    HaloCount result;
    result.parts.resize(size_t(sources.n_parts()));
    for (int part = 0; part < sources.n_parts(); ++part) {
        result.parts[part].n_sources = sources.size(part);
        result.parts[part].n_destinations = destinations.size(part);
    }
    return result;
}

HaloCount count_halo(const Partition& sources, const Partition& destinations, std::span<const int32_t> src,
                     std::span<const int32_t> dst)
{
    GRADWIND_CHECK(src.size() == dst.size(), InternalError, "[partition] {} sources and {} destinations of edges",
                   src.size(), dst.size());
    const int n_parts = sources.n_parts();
    HaloCount result = count_rows(sources, destinations);
    std::vector<int64_t> wanted; // receiver * n_sources + source
    for (size_t e = 0; e < src.size(); ++e) {
        const int receiver = destinations.owner(dst[e]);
        ++result.parts[receiver].n_edges;
        if (sources.owner(src[e]) != receiver)
            wanted.push_back(receiver * sources.n_rows() + src[e]);
    }
    std::sort(wanted.begin(), wanted.end());
    wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
    std::vector<uint8_t> receives(size_t(n_parts) * n_parts, 0);
    for (const int64_t pair : wanted) {
        const auto receiver = pair / sources.n_rows();
        const int sender = sources.owner(pair % sources.n_rows());
        ++result.parts[receiver].n_halo;
        ++result.parts[sender].n_send;
        receives[receiver * n_parts + sender] = 1;
    }
    for (int part = 0; part < n_parts; ++part)
        result.parts[part].n_neighbours =
            static_cast<int>(std::count(receives.begin() + part * n_parts, receives.begin() + (part + 1) * n_parts, 1));
    return result;
}

} // namespace gradwind::parallel
