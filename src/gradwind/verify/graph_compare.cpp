// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/verify/graph_compare.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numbers>

#include "gradwind/core/error.h"
#include "gradwind/grid/neighbours.h"

namespace gradwind::verify
{

namespace
{

using graph::Attribute;
using graph::EdgeSet;
using graph::Graph;
using graph::NodeSet;

constexpr double kPositionTolerance = 1e-6;
constexpr double kTieTolerance = 1e-6;
constexpr double kAttributeTolerance = 1e-5;

/// stored_of[i] is the node of the stored set at the position of node i.
struct NodeMatch {
    std::vector<int32_t> stored_of;
    double distance = 0;
    int64_t unmatched = 0;
};

NodeMatch match_nodes(const NodeSet& built, const NodeSet& stored)
{
    NodeMatch match;
    match.unmatched = std::abs(built.size() - stored.size());
    const grid::NeighbourTree tree(grid::unit_vectors(stored.lat_rad, stored.lon_rad));
    const grid::UnitVectors points = grid::unit_vectors(built.lat_rad, built.lon_rad);
    const grid::NeighbourLists nearest = tree.nearest(points, 1);
    std::vector<uint8_t> taken(stored.lat_rad.size(), 0);
    for (size_t i = 0; i < points.size(); ++i) {
        // The same number first: positions may occur twice.
        const bool same = i < taken.size() && grid::chord(points[i], tree.points()[i]) <= kPositionTolerance;
        const auto other = same ? static_cast<int32_t>(i) : nearest.ids[i];
        const double distance = grid::chord(points[i], tree.points()[static_cast<size_t>(other)]);
        if (distance > kPositionTolerance || taken[static_cast<size_t>(other)] != 0) {
            ++match.unmatched;
            match.stored_of.push_back(-1);
            continue;
        }
        taken[static_cast<size_t>(other)] = 1;
        match.distance = std::max(match.distance, distance);
        match.stored_of.push_back(other);
    }
    return match;
}

using EdgeKey = uint64_t;

EdgeKey edge_key(int32_t src, int32_t dst)
{
    return (static_cast<uint64_t>(src) << 32) | static_cast<uint64_t>(dst);
}

struct NumberedEdge {
    EdgeKey key;
    int64_t number;
    bool operator<(const NumberedEdge& other) const { return key < other.key; }
};

/// Edges that only one graph has: with another of equal length at the same node in the other graph, or without.
struct Unmatched {
    int64_t ties = 0;
    int64_t others = 0;
};

/// Chords of edges given by the numbers of their nodes.
class EdgeLengths
{
public:
    EdgeLengths(const NodeSet& source, const NodeSet& target)
        : from_(grid::unit_vectors(source.lat_rad, source.lon_rad)),
          to_(grid::unit_vectors(target.lat_rad, target.lon_rad))
    {
    }
    double operator()(EdgeKey key) const { return grid::chord(from_[key >> 32], to_[key & 0xffffffff]); }

private:
    grid::UnitVectors from_;
    grid::UnitVectors to_;
};

Unmatched sort_out_ties(const std::vector<EdgeKey>& only_built, std::vector<EdgeKey> only_stored,
                        const EdgeLengths& length)
{
    Unmatched result;
    for (const EdgeKey edge : only_built) {
        const auto tie = std::find_if(only_stored.begin(), only_stored.end(), [&](EdgeKey other) {
            const bool share_end = (other >> 32) == (edge >> 32) || (other & 0xffffffff) == (edge & 0xffffffff);
            return share_end && std::abs(length(other) - length(edge)) <= kTieTolerance * length(edge);
        });
        if (tie == only_stored.end()) {
            ++result.others;
        } else {
            ++result.ties;
            only_stored.erase(tie);
        }
    }
    result.others += static_cast<int64_t>(only_stored.size());
    return result;
}

/// A node or edge that both have.
struct Row {
    int64_t built;
    int64_t stored;
    double length = 1; ///< of an edge, as a chord
};
using Rows = std::vector<Row>;

/// The original finds directions from unit vectors in single precision: with rounding of 1e-7 over the length of the
/// edge. Below this length (127 km) differences of directions therefore count in proportion to the length.
constexpr double kShortEdge = 0.02;

bool is_direction(const std::string& name)
{
    return name.starts_with("edge_dirs") || name.starts_with("azimuth") || name.starts_with("harmonics");
}

struct AttributeError {
    double relative = 0;          ///< norm of the difference over norm of the stored values
    double factor = 1;            ///< by which the built values must be multiplied to fit best
    double relative_of_best = 0;  ///< with that factor
    double sum_of_magnitudes = 0; ///< of the built values
};

/// Angles count modulo a full turn.
AttributeError attribute_error(const Attribute& built, const Attribute& stored, const Rows& rows,
                               const std::string& name)
{
    const bool angle = name.starts_with("azimuth");
    double difference2 = 0;
    double built2 = 0;
    double stored2 = 0;
    double product = 0;
    AttributeError error;
    const bool direction = is_direction(name);
    for (const auto& [row, stored_row, length] : rows) {
        const double weight = direction ? std::min(1.0, length / kShortEdge) : 1;
        for (int64_t column = 0; column < built.n_cols; ++column) {
            const double a = weight * built.values[static_cast<size_t>(row * built.n_cols + column)];
            const double b = weight * stored.values[static_cast<size_t>(stored_row * built.n_cols + column)];
            const double d = angle ? weight * std::remainder((a - b) / weight, 2 * std::numbers::pi) : a - b;
            difference2 += d * d;
            built2 += a * a;
            stored2 += b * b;
            product += a * b;
            error.sum_of_magnitudes += std::abs(a);
        }
    }
    error.relative = std::sqrt(stored2 > 0 ? difference2 / stored2 : difference2);
    error.factor = built2 > 0 ? product / built2 : 1;
    const double rest2 = stored2 - error.factor * product;
    error.relative_of_best = stored2 > 0 ? std::sqrt(std::max(0.0, rest2) / stored2) : 0;
    return error;
}

/// Where and how far the scale of an attribute may differ although every value is right.
struct Scope {
    std::string prefix;  ///< of the names of the checks
    double replaced = 0; ///< share of edges that were replaced by others of equal length
};

void compare_attribute(const Attribute& built, const Attribute& stored, const Rows& rows, const Scope& scope,
                       const std::string& name, CaseReport& report)
{
    const std::string what = scope.prefix + name;
    if (built.n_cols != stored.n_cols) {
        report.check(what, std::numeric_limits<double>::infinity(), kAttributeTolerance);
        return;
    }
    const AttributeError error = attribute_error(built, stored, rows, name);
    // A norm divides by one number that depends on all edges, those replaced by others of equal length too. The norm l1
    // takes the signed sum: where that nearly cancels, its rounding in the original counts by the sum of magnitudes.
    constexpr double kCancels = 100;
    constexpr double kRoundingOfSum = 1e-6;
    const bool cancels = name.ends_with("_l1") && error.sum_of_magnitudes > kCancels;
    const double magnified = cancels ? error.sum_of_magnitudes : 1;
    const double scale_tolerance = (4 * scope.replaced + (cancels ? kRoundingOfSum : 0)) * magnified;
    if (scale_tolerance == 0 || error.relative <= kAttributeTolerance) {
        report.check(what, error.relative, kAttributeTolerance);
        return;
    }
    report.check(what + " (but for a common factor)", error.relative_of_best, kAttributeTolerance);
    report.check(what + " (inverse of the common factor)", std::abs(1 / error.factor - 1), scale_tolerance);
}

void compare_attributes(const std::map<std::string, Attribute>& built, const std::map<std::string, Attribute>& stored,
                        const Rows& rows, const Scope& scope, CaseReport& report)
{
    for (const auto& [name, attribute] : stored) {
        const auto found = built.find(name);
        if (found == built.end())
            report.not_run.push_back(scope.prefix + name + ": the built graph has no such attribute");
        else
            compare_attribute(found->second, attribute, rows, scope, name, report);
    }
}

void compare_edges(const Graph& stored_graph, const EdgeSet& built, const EdgeSet& stored,
                   const std::map<std::string, NodeMatch>& matches, const std::string& prefix, CaseReport& report)
{
    const std::vector<int32_t>& source = matches.at(stored.source).stored_of;
    const std::vector<int32_t>& target = matches.at(stored.target).stored_of;
    std::vector<NumberedEdge> ours;
    std::vector<NumberedEdge> theirs;
    std::vector<EdgeKey> only_built;
    std::vector<EdgeKey> only_stored;
    int64_t unmatched = 0;
    for (size_t e = 0; e < built.src.size(); ++e) {
        const int32_t src = source[static_cast<size_t>(built.src[e])];
        const int32_t dst = target[static_cast<size_t>(built.dst[e])];
        if (src < 0 || dst < 0)
            ++unmatched;
        else
            ours.push_back({edge_key(src, dst), static_cast<int64_t>(e)});
    }
    for (size_t e = 0; e < stored.src.size(); ++e)
        theirs.push_back({edge_key(stored.src[e], stored.dst[e]), static_cast<int64_t>(e)});
    std::stable_sort(ours.begin(), ours.end());
    std::stable_sort(theirs.begin(), theirs.end());
    const EdgeLengths length(stored_graph.node_set(stored.source), stored_graph.node_set(stored.target));
    Rows rows;
    size_t i = 0;
    size_t j = 0;
    while (i < ours.size() || j < theirs.size()) {
        if (j == theirs.size() || (i < ours.size() && ours[i].key < theirs[j].key)) {
            only_built.push_back(ours[i++].key);
        } else if (i == ours.size() || theirs[j].key < ours[i].key) {
            only_stored.push_back(theirs[j++].key);
        } else {
            // The direction of an edge from a node to itself is rounding noise in the original.
            const auto e = static_cast<size_t>(ours[i].number);
            if (built.source != built.target || built.src[e] != built.dst[e])
                rows.push_back({ours[i].number, theirs[j].number, length(ours[i].key)});
            ++i;
            ++j;
        }
    }
    const Unmatched left = sort_out_ties(only_built, std::move(only_stored), length);
    report.check(prefix + "edges that only one has", static_cast<double>(unmatched + left.others), 0);
    const double replaced = static_cast<double>(left.ties) / static_cast<double>(std::max<int64_t>(1, stored.size()));
    compare_attributes(built.attributes, stored.attributes, rows, {prefix, replaced}, report);
}

} // namespace

void compare_graphs(const Graph& built, const Graph& stored, CaseReport& report, const std::string& prefix)
{
    std::map<std::string, NodeMatch> matches;
    for (const NodeSet& nodes : stored.nodes) {
        const std::string name = prefix + "nodes." + nodes.name + ".";
        const NodeSet& ours = built.node_set(nodes.name);
        const NodeMatch match = match_nodes(ours, nodes);
        report.check(name + "nodes that only one has", static_cast<double>(match.unmatched), 0);
        report.check(name + "position (rad)", match.distance, kPositionTolerance);
        Rows rows;
        for (size_t i = 0; i < match.stored_of.size(); ++i) {
            if (match.stored_of[i] >= 0)
                rows.push_back({static_cast<int64_t>(i), match.stored_of[i]});
        }
        compare_attributes(ours.attributes, nodes.attributes, rows, {name, 0}, report);
        matches[nodes.name] = match;
    }
    for (const EdgeSet& edges : stored.edges) {
        const std::string name = fmt::format("{}edges.{}.{}.", prefix, edges.source, edges.target);
        const EdgeSet* ours = built.edge_set(edges.source, edges.target);
        if (ours == nullptr)
            report.check(name + "edges that only one has", static_cast<double>(edges.size()), 0);
        else
            compare_edges(stored, *ours, edges, matches, name, report);
    }
}

} // namespace gradwind::verify
