// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <fmt/ranges.h>
#include <numeric>

#include "gradwind/core/error.h"
#include "gradwind/core/text.h"
#include "gradwind/graph/builder.h"

namespace gradwind::graph::detail
{

namespace
{

constexpr int64_t kDefaultMaxNeighbours = 64;

/// Nodes that take part at one end of an edge builder: all, or those that a mask selects.
class Candidates
{
public:
    Candidates(Builder& builder, const std::string& set, const Config& config, const char* mask_key)
        : geometry_(builder.geometry_of(set))
    {
        if (!config.has(mask_key))
            return;
        const std::vector<uint8_t> mask = node_mask(builder.graph.node_set(set), config.get<std::string>(mask_key));
        for (size_t i = 0; i < mask.size(); ++i) {
            if (mask[i] != 0)
                ids_.push_back(static_cast<int>(i));
        }
        GRADWIND_CHECK(!ids_.empty(), ConfigError, "[graph] {}: the mask selects none of the {} nodes of `{}`",
                       config.at(mask_key).where(), mask.size(), set);
        selected_.emplace(grid::select(geometry_.points(), ids_));
    }
    [[nodiscard]] const grid::UnitVectors& points() { return selected_ ? selected_->points() : geometry_.points(); }
    [[nodiscard]] const grid::NeighbourTree& tree() { return selected_ ? *selected_ : geometry_.tree(); }
    [[nodiscard]] NodeGeometry& geometry() { return geometry_; }
    [[nodiscard]] int32_t id(int32_t candidate) const
    {
        return ids_.empty() ? candidate : ids_[static_cast<size_t>(candidate)];
    }

private:
    NodeGeometry& geometry_;
    std::vector<int> ids_; ///< empty: all
    std::optional<grid::NeighbourTree> selected_;
};

/// The two ends of a search: every `query` node looks for `candidate` nodes.
struct Ends {
    Candidates candidates;
    Candidates queries;
};

enum class Search { FromTargets, FromSources };

Ends ends(Builder& builder, const std::string& source, const std::string& target, const Config& config, Search search)
{
    Candidates sources(builder, source, config, "source_mask_attr_name");
    Candidates targets(builder, target, config, "target_mask_attr_name");
    if (search == Search::FromTargets)
        return {std::move(sources), std::move(targets)};
    return {std::move(targets), std::move(sources)};
}

/// Query-major list; what was found is the source if targets searched, else the destination.
EdgeList edges_of(const grid::NeighbourLists& lists, const Ends& ends, Search search)
{
    EdgeList edges;
    std::vector<int32_t>& found = search == Search::FromTargets ? edges.src : edges.dst;
    std::vector<int32_t>& asking = search == Search::FromTargets ? edges.dst : edges.src;
    found.reserve(lists.ids.size());
    asking.reserve(lists.ids.size());
    for (int64_t query = 0; query < lists.n_queries(); ++query) {
        for (int64_t i = lists.offsets[static_cast<size_t>(query)]; i < lists.offsets[static_cast<size_t>(query) + 1];
             ++i) {
            found.push_back(ends.candidates.id(lists.ids[static_cast<size_t>(i)]));
            asking.push_back(ends.queries.id(static_cast<int32_t>(query)));
        }
    }
    return edges;
}

void check_masks_and(const Config& config, std::initializer_list<const char*> own)
{
    std::vector<const char*> known(own);
    known.push_back("source_mask_attr_name");
    known.push_back("target_mask_attr_name");
    check_keys(config, std::span(known));
}

EdgeList nearest_edges(Builder& builder, const std::string& source, const std::string& target, const Config& config,
                       Search search, const char* number_key = "num_nearest_neighbours")
{
    const auto k = config.get<int64_t>(number_key);
    Ends both = ends(builder, source, target, config, search);
    const auto n_candidates = static_cast<int64_t>(both.candidates.tree().points().size());
    GRADWIND_CHECK(k >= 1 && k <= n_candidates, ConfigError,
                   "[graph] {} must be between 1 and {}, the number of nodes to choose from, got {}",
                   config.at(number_key).where(), n_candidates, k);
    return edges_of(both.candidates.tree().nearest(both.queries.points(), k), both, search);
}

EdgeList knn_edges(Builder& builder, const std::string& source, const std::string& target, const Config& config)
{
    check_masks_and(config, {"num_nearest_neighbours"});
    return nearest_edges(builder, source, target, config, Search::FromTargets);
}

EdgeList reversed_knn_edges(Builder& builder, const std::string& source, const std::string& target,
                            const Config& config)
{
    check_masks_and(config, {"num_nearest_neighbours"});
    return nearest_edges(builder, source, target, config, Search::FromSources);
}

/// Pairs in which each end is among the nearest of the other; target-major as KNNEdges.
EdgeList mutual_knn_edges(Builder& builder, const std::string& source, const std::string& target, const Config& config)
{
    check_masks_and(config, {"num_nearest_neighbours", "reversed_num_nearest_neighbours"});
    const bool own_number = config.has("reversed_num_nearest_neighbours");
    const char* reversed_key = own_number ? "reversed_num_nearest_neighbours" : "num_nearest_neighbours";
    const EdgeList forward = nearest_edges(builder, source, target, config, Search::FromTargets);
    const EdgeList backward = nearest_edges(builder, source, target, config, Search::FromSources, reversed_key);
    const auto key = [](const EdgeList& list, size_t e) {
        return (static_cast<uint64_t>(list.src[e]) << 32) | static_cast<uint64_t>(list.dst[e]);
    };
    std::vector<uint64_t> keys(backward.src.size());
    for (size_t e = 0; e < keys.size(); ++e)
        keys[e] = key(backward, e);
    std::sort(keys.begin(), keys.end());
    EdgeList edges;
    for (size_t e = 0; e < forward.src.size(); ++e) {
        if (std::binary_search(keys.begin(), keys.end(), key(forward, e))) {
            edges.src.push_back(forward.src[e]);
            edges.dst.push_back(forward.dst[e]);
        }
    }
    return edges;
}

/// Kilometres over the Earth's radius count as a chord here, as in the original (spec §1.4).
double cutoff_radius(const Config& config, NodeGeometry& asking)
{
    const bool by_factor = config.has("cutoff_factor");
    GRADWIND_CHECK(by_factor != config.has("cutoff_distance_km"), ConfigError,
                   "[graph] {} needs exactly one of cutoff_factor and cutoff_distance_km", config.where());
    const char* key = by_factor ? "cutoff_factor" : "cutoff_distance_km";
    const auto value = config.get<double>(key);
    GRADWIND_CHECK(value > 0, ConfigError, "[graph] {} must be positive, got {}", config.at(key).where(), value);
    return by_factor ? value * asking.reference_distance() : value / grid::kEarthRadiusKm;
}

EdgeList within_edges(Builder& builder, const std::string& source, const std::string& target, const Config& config,
                      Search search)
{
    check_masks_and(config, {"cutoff_factor", "cutoff_distance_km", "max_num_neighbours"});
    Ends both = ends(builder, source, target, config, search);
    const double radius = cutoff_radius(config, both.queries.geometry());
    const int64_t cap = config.get<int64_t>("max_num_neighbours", kDefaultMaxNeighbours);
    GRADWIND_CHECK(cap >= 1, ConfigError, "[graph] {} must be at least 1, got {}",
                   config.at("max_num_neighbours").where(), cap);
    return edges_of(both.candidates.tree().within(both.queries.points(), radius, cap), both, search);
}

EdgeList cutoff_edges(Builder& builder, const std::string& source, const std::string& target, const Config& config)
{
    return within_edges(builder, source, target, config, Search::FromTargets);
}

EdgeList reversed_cutoff_edges(Builder& builder, const std::string& source, const std::string& target,
                               const Config& config)
{
    return within_edges(builder, source, target, config, Search::FromSources);
}

/// For builders that join the nodes of one mesh.
NodeGeometry& mesh_of(Builder& builder, const std::string& source, const std::string& target, const Config& config)
{
    GRADWIND_CHECK(source == target, ConfigError, "[graph] {} joins a node set with itself, not `{}` with `{}`",
                   config.where(), source, target);
    return builder.geometry_of(source);
}

EdgeList multi_scale(Builder& builder, const std::string& source, const std::string& target, const Config& config)
{
    return multi_scale_edges(mesh_of(builder, source, target, config), source, config);
}

EdgeList healpix_multi_scale(Builder& builder, const std::string& source, const std::string& target,
                             const Config& config)
{
    return healpix_multi_scale_edges(mesh_of(builder, source, target, config), source, config);
}

using EdgeBuilder = EdgeList (*)(Builder&, const std::string&, const std::string&, const Config&);
constexpr std::array<std::pair<const char*, EdgeBuilder>, 7> kEdgeBuilders{{
    {"KNNEdges", knn_edges},
    {"ReversedKNNEdges", reversed_knn_edges},
    {"MutualKNNEdges", mutual_knn_edges},
    {"CutOffEdges", cutoff_edges},
    {"ReversedCutOffEdges", reversed_cutoff_edges},
    {"MultiScaleEdges", multi_scale},
    {"HEALPixMultiScaleEdges", healpix_multi_scale},
}};

} // namespace

EdgeList build_edges(Builder& builder, const std::string& source, const std::string& target, const Config& edge_builder)
{
    const std::string name = edge_builder.target();
    std::vector<std::string> known;
    for (const auto& [known_name, build] : kEdgeBuilders) {
        if (name == known_name)
            return build(builder, source, target, edge_builder);
        known.emplace_back(known_name);
    }
    refuse_target("edge builder", edge_builder, known,
                  {"ICONTopologicalProcessorEdges", "ICONTopologicalEncoderEdges", "ICONTopologicalDecoderEdges"});
}

} // namespace gradwind::graph::detail
