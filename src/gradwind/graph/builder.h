// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What node, edge and attribute builders share while a graph is built. Not for use outside this layer.
#pragma once
#include "gradwind/core/config.h"
#include "gradwind/graph/build.h"
#include "gradwind/graph/graph.h"
#include "gradwind/grid/icosphere.h"
#include "gradwind/grid/neighbours.h"

#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace gradwind::graph::detail
{

/// The refined icosahedron that a node set was taken from.
struct TriMesh {
    std::shared_ptr<const grid::Icosphere> sphere;
    std::vector<int32_t> node_of_vertex; ///< -1: the vertex is no node
    std::vector<uint8_t> in_area;        ///< by vertex; empty: the whole sphere
};

/// The HEALPix hierarchy of a node set.
struct HealpixMesh {
    int64_t resolution = 0;
};

/// A node set under construction, with what follows from its positions. Computed at first need and kept.
class NodeGeometry
{
public:
    explicit NodeGeometry(const NodeSet& nodes) : lat_rad_(nodes.lat_rad), lon_rad_(nodes.lon_rad) {}
    [[nodiscard]] const grid::UnitVectors& points();
    [[nodiscard]] const grid::NeighbourTree& tree();
    [[nodiscard]] double reference_distance();
    [[nodiscard]] bool has_reference_distance() const { return reference_distance_.has_value(); }

    std::optional<TriMesh> tri;
    std::optional<HealpixMesh> healpix;
    std::optional<Config> dataset; ///< option of the data set whose cells the nodes are

private:
    std::vector<float> lat_rad_;
    std::vector<float> lon_rad_;
    std::optional<grid::UnitVectors> points_;
    std::optional<grid::NeighbourTree> tree_;
    std::optional<double> reference_distance_;
};

struct Builder {
    const GraphInputs& inputs;
    Graph graph;
    std::map<std::string, NodeGeometry> geometry; ///< by name of the node set
    NodeGeometry& geometry_of(const std::string& set);
};

/// Refuses keys that a builder does not know; `_target_` is always known.
/// @throws ConfigError naming the key, its place and the nearest known key
void check_keys(const Config& config, std::span<const char* const> known);
inline void check_keys(const Config& config, std::initializer_list<const char*> known)
{
    check_keys(config, std::span(known.begin(), known.size()));
}

/// Degrees to radians in double precision, then rounded (spec §1.1).
/// @throws DataError for an empty set, NaN, or a latitude outside [-90, 90]
[[nodiscard]] NodeSet nodes_from_degrees(const std::string& name, const grid::Coordinates& coordinates);

/// Runs the builder of a node set: adds it to builder.graph and builder.geometry.
void build_nodes(Builder& builder, const std::string& name, const Config& node_builder);

struct EdgeList {
    std::vector<int32_t> src;
    std::vector<int32_t> dst;
};
/// Runs one edge builder between two node sets.
[[nodiscard]] EdgeList build_edges(Builder& builder, const std::string& source, const std::string& target,
                                   const Config& edge_builder);
[[nodiscard]] EdgeList multi_scale_edges(NodeGeometry& nodes, const std::string& set, const Config& edge_builder);
[[nodiscard]] EdgeList healpix_multi_scale_edges(NodeGeometry& nodes, const std::string& set,
                                                 const Config& edge_builder);

/// Computes one attribute; the result is already normalised.
[[nodiscard]] Attribute node_attribute(Builder& builder, const NodeSet& nodes, const Config& attribute);
[[nodiscard]] Attribute edge_attribute(const EdgeSet& edges, const NodeSet& source, const NodeSet& target,
                                       const Config& attribute);

/// A field of the data set that the nodes come from: the variable that `variable` names.
[[nodiscard]] std::vector<double> dataset_field(Builder& builder, const NodeSet& nodes, const Config& config);
/// 1 for the nodes of some of the grids that the data set joins, else 0.
[[nodiscard]] std::vector<double> grid_membership(Builder& builder, const NodeSet& nodes, const Config& config,
                                                  const std::vector<int64_t>& grids);

/// Refuses a `_target_`, naming the nearest that exists, or all where the original has one that is not here.
/// @param kind  "node builder", "edge builder"
[[noreturn]] void refuse_target(const char* kind, const Config& config, const std::vector<std::string>& known,
                                std::initializer_list<const char*> not_available);

/// The norm named by `norm` of an attribute's configuration (spec §1.5), over all values together.
/// @throws ConfigError for an unknown norm
void normalise(Attribute& attribute, const std::optional<std::string>& norm, const Config& where);
/// The same within each group of rows; group[row] is below n_groups.
void normalise_by_group(Attribute& attribute, const std::optional<std::string>& norm, std::span<const int32_t> group,
                        int64_t n_groups, const Config& where);
/// Value of a `norm` key: absent means `fallback`, null means none.
[[nodiscard]] std::optional<std::string> norm_of(const Config& attribute, std::optional<std::string> fallback = {});

/// Attributes of each edge set, by their names, to compute them again after edges have changed.
struct EdgeAttributeConfigs {
    std::string source;
    std::string target;
    std::vector<std::pair<std::string, Config>> attributes;
};
void post_process(Graph& graph, const Config& processor, const std::vector<EdgeAttributeConfigs>& attributes);

} // namespace gradwind::graph::detail
