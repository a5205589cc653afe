// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/config_keys.h"

namespace gradwind
{

namespace
{

#define NORMS "l1, l2, unit-max, unit-range, unit-std, unit-sum, log1p"

constexpr KeySpec graph_table[] = {
    {"graph.overwrite", "bool", "true", "", "", "Build the graph even if system.input.graph exists."},
    {"graph.nodes.*.node_builder", "target:node builder", "", "", "", "Where the nodes come from."},
    {"graph.nodes.*.attributes.*", "target:node attribute", "", "", "", "Values at the nodes, by name."},
    {"graph.edges[].source_name", "string", "", "", "", "Node set that the edges leave."},
    {"graph.edges[].target_name", "string", "", "", "", "Node set that the edges enter."},
    {"graph.edges[].edge_builders[]", "target:edge builder", "", "", "",
     "How the edges are chosen; several are united."},
    {"graph.edges[].attributes.*", "target:edge attribute", "", "", "", "Values at the edges, by name."},
    {"graph.attributes.nodes.*", "target:node attribute", "", "", "", "Attributes that node sets refer to."},
    {"graph.attributes.edges.*", "target:edge attribute", "", "", "", "Attributes that edge sets refer to."},
    {"graph.post_processors[]", "target:graph processor", "", "", "", "Changes to the built graph, in order."},
    {"graph.data", "string", "", "", "", "Name of the data nodes, for configurations that refer to it."},
    {"graph.hidden", "string | strings", "", "", "", "Name of the hidden nodes, for configurations that refer to it."},
};

constexpr KeySpec dataset_nodes[] = {
    {"dataset", "dataset", "", "", "", "Data set whose cells become nodes."},
};
constexpr KeySpec resolution_key[] = {
    {"resolution", "int | ints", "", "0 .. 12", "", "Refinement level of the mesh."},
};
constexpr KeySpec grid_key[] = {
    {"grid", "string", "", "", "", "Name of a Gaussian grid: o48, n320."},
};
constexpr KeySpec area_keys[] = {
    {"reference_node_name", "string", "data", "", "", "Node set that marks the area."},
    {"mask_attr_name", "string", "", "", "", "Boolean attribute: only these reference nodes count."},
    {"margin_radius_km", "real", "100.0", ">= 0", "km", "Nodes this near to a reference node are kept."},
};
constexpr KeySpec stretched_keys[] = {
    {"global_resolution", "int", "", "0 .. 12", "", "Refinement level outside the area."},
    {"lam_resolution", "int", "", "0 .. 12", "", "Refinement level in the area."},
};
constexpr KeySpec npz_keys[] = {
    {"npz_file", "path", "", "", "", "File with latitudes and longitudes in degrees."},
    {"lat_key", "string", "latitudes", "", "", "Name of the latitudes."},
    {"lon_key", "string", "longitudes", "", "", "Name of the longitudes."},
};
constexpr KeySpec text_keys[] = {
    {"dataset", "path", "", "", "", "Text file, a node a line."},
    {"idx_lon", "int", "0", ">= 0", "", "Column of the longitude."},
    {"idx_lat", "int", "1", ">= 0", "", "Column of the latitude."},
};
constexpr KeySpec xarray_keys[] = {
    {"dataset", "path", "", "", "", "netCDF file."},
    {"lat_key", "string", "lat", "", "", "Name of the latitudes."},
    {"lon_key", "string", "lon", "", "", "Name of the longitudes."},
};
constexpr KeySpec latlon_keys[] = {
    {"latitudes", "reals", "", "-90 .. 90", "degrees", "Latitudes of the nodes."},
    {"longitudes", "reals", "", "-360 .. 360", "degrees", "Longitudes of the nodes."},
};

constexpr KeySpec mask_keys[] = {
    {"source_mask_attr_name", "string", "", "", "", "Boolean attribute: only these sources may have edges."},
    {"target_mask_attr_name", "string", "", "", "", "Boolean attribute: only these targets may have edges."},
};
constexpr KeySpec cutoff_keys[] = {
    {"cutoff_factor", "real", "", "> 0", "", "Radius as a multiple of the reference distance of the targets."},
    {"cutoff_distance_km", "real", "", "> 0", "km", "Radius; instead of cutoff_factor."},
    {"max_num_neighbours", "int", "64", ">= 1", "", "Nearest sources kept per target."},
};
constexpr KeySpec knn_keys[] = {
    {"num_nearest_neighbours", "int", "", ">= 1", "", "Nearest sources per target."},
};
constexpr KeySpec mutual_keys[] = {
    {"reversed_num_nearest_neighbours", "int", "", ">= 1", "", "Nearest targets per source; default as the other."},
};
constexpr KeySpec multi_scale_keys[] = {
    {"x_hops", "int", "1", ">= 1", "", "Neighbours up to this many mesh edges away."},
    {"scale_resolutions", "int | ints", "", "0 .. 12", "", "Levels that give edges: n means 1 to n."},
};
constexpr KeySpec scale_keys[] = {
    {"scale_resolutions", "int | ints", "", "0 .. 12", "", "Levels that give edges: n means 1 to n."},
};

constexpr KeySpec norm_keys[] = {
    {"norm", "string", "", NORMS, "", "Normalisation over all nodes or edges."},
    {"dtype", "string", "float32", "float32, float64, bool, int32", "", "Type of the stored values."},
};
constexpr KeySpec spherical_keys[] = {
    {"radius", "real", "1.0", "> 0", "", "Radius of the sphere."},
    {"centre", "reals", "", "", "", "Centre of the sphere."},
    {"fill_value", "real", "0.0", "", "", "Area of a node without a cell."},
};
constexpr KeySpec mask_attr_keys[] = {
    {"mask_node_attr_name", "string", "", "", "", "Boolean attribute; nodes outside get 0."},
};
constexpr KeySpec cosine_keys[] = {
    {"min_value", "real", "0.001", "", "", "Value at the poles."},
    {"max_value", "real", "1.0", "", "", "Value at the equator."},
};
constexpr KeySpec variable_key[] = {
    {"variable", "string", "", "", "", "Variable of the data set."},
};
constexpr KeySpec grids_keys[] = {
    {"grids", "int | ints", "0", ">= 0", "", "Grids of the data set that the mask holds."},
};
constexpr KeySpec one_mask_keys[] = {
    {"masks", "string | list | target:node attribute", "", "", "", "The mask, or the attribute it is."},
};
constexpr KeySpec several_masks_keys[] = {
    {"masks", "list | string", "", "", "", "The masks: attributes by name or as mappings."},
    {"masks[]", "string | target:node attribute"},
};
constexpr KeySpec harmonics_keys[] = {
    {"order", "int", "3", ">= 1", "", "Highest multiple of the angle."},
};
constexpr KeySpec sigma_keys[] = {
    {"sigma", "real", "1.0", "> 0", "", "Width of the Gaussian, in normalised distance."},
};
constexpr KeySpec radial_keys[] = {
    {"r_scale", "real", "", "> 0", "rad", "Scale of the distance; default the largest of each target."},
    {"centers", "reals", "", "", "", "Centres of the functions."},
    {"sigma", "real", "0.2", "> 0", "", "Width of the functions."},
    {"epsilon", "real", "1e-10", "> 0", "", "Guard against division by zero."},
};
constexpr KeySpec node_attr_key[] = {
    {"node_attr_name", "string", "", "", "", "Attribute of the node that the edge takes."},
};

constexpr KeySpec edge_set_keys[] = {
    {"source_name", "string", "", "", "", "Node set that the edges leave."},
    {"target_name", "string", "", "", "", "Node set that the edges enter."},
};
constexpr KeySpec length_keys[] = {
    {"max_length_km", "real", "", "> 0", "km", "Longer edges are removed."},
};
constexpr KeySpec nodes_keys[] = {
    {"nodes_name", "string", "", "", "", "Node set that is changed."},
    {"save_mask_indices_to_attr", "string", "", "", "", "Attribute that keeps the original numbers."},
};
constexpr KeySpec ignore_key[] = {
    {"ignore", "string", "", "", "", "Boolean attribute: these nodes always stay."},
};
constexpr KeySpec area_key[] = {
    {"area", "reals", "", "", "degrees", "North, west, south, east."},
};
constexpr KeySpec descending_key[] = {
    {"descending", "bool", "true", "", "", "Direction of the order."},
};

} // namespace

std::span<const KeySpec> graph_keys()
{
    return graph_table;
}

std::vector<TargetSpec> graph_targets()
{
    const char* nodes = "node builder";
    const char* edges = "edge builder";
    const char* at_nodes = "node attribute";
    const char* at_edges = "edge attribute";
    const char* post = "graph processor";
    return {
        {nodes, "AnemoiDatasetNodes", {dataset_nodes}, "The cells of a data set."},
        {nodes, "ReducedGaussianGridNodes", {grid_key}, "A reduced Gaussian grid."},
        {nodes, "TriNodes", {resolution_key}, "The refined icosahedron."},
        {nodes, "HexNodes", {resolution_key}, "Hexagons."},
        {nodes, "HEALPixNodes", {resolution_key}, "HEALPix, nested order."},
        {nodes, "LimitedAreaTriNodes", {resolution_key, area_keys}, "The refined icosahedron around other nodes."},
        {nodes, "LimitedAreaHexNodes", {resolution_key, area_keys}, "Hexagons around other nodes."},
        {nodes, "LimitedAreaHEALPixNodes", {resolution_key, area_keys}, "HEALPix around other nodes."},
        {nodes, "LimitedAreaNPZFileNodes", {npz_keys, area_keys}, "Stored nodes around other nodes."},
        {nodes, "StretchedTriNodes", {stretched_keys, area_keys}, "Fine in an area, coarse outside."},
        {nodes, "NPZFileNodes", {npz_keys}, "Stored nodes."},
        {nodes, "TextNodes", {text_keys}, "Nodes from a text file."},
        {nodes, "XArrayNodes", {xarray_keys}, "Nodes from a netCDF file."},
        {nodes, "LatLonNodes", {latlon_keys}, "Nodes written in the configuration."},
        {edges, "CutOffEdges", {cutoff_keys, mask_keys}, "All sources within a radius of each target."},
        {edges, "ReversedCutOffEdges", {cutoff_keys, mask_keys}, "All targets within a radius of each source."},
        {edges, "KNNEdges", {knn_keys, mask_keys}, "The nearest sources of each target."},
        {edges, "ReversedKNNEdges", {knn_keys, mask_keys}, "The nearest targets of each source."},
        {edges, "MutualKNNEdges", {knn_keys, mutual_keys, mask_keys}, "Nearest from both sides."},
        {edges, "MultiScaleEdges", {multi_scale_keys, mask_keys}, "The edges of every mesh level."},
        {edges, "HEALPixMultiScaleEdges", {scale_keys, mask_keys}, "HEALPix neighbours on every level."},
        {at_nodes, "SphericalAreaWeights", {spherical_keys, norm_keys}, "Area of the spherical Voronoi cell."},
        {at_nodes, "PlanarAreaWeights", {norm_keys}, "Area of the planar Voronoi cell."},
        {at_nodes, "MaskedPlanarAreaWeights", {mask_attr_keys, norm_keys}, "The same inside a mask."},
        {at_nodes, "CosineLatWeightedAttribute", {cosine_keys, norm_keys}, "Cosine of the latitude."},
        {at_nodes, "IsolatitudeAreaWeights", {norm_keys}, "Area of latitude bands."},
        {at_nodes, "UniformWeights", {norm_keys}, "One everywhere."},
        {at_nodes, "AnemoiDatasetVariableWeights", {variable_key, norm_keys}, "A field of the data set."},
        {at_nodes, "CutOutMask", {}, "Cells of the inner part of a cutout."},
        {at_nodes, "GridsMask", {grids_keys}, "Cells of some of the grids."},
        {at_nodes, "LimitedAreaMask", {}, "Nodes in the limited area."},
        {at_nodes, "NonmissingAnemoiDatasetVariable", {variable_key}, "Cells where a variable has values."},
        {at_nodes, "NonzeroAnemoiDatasetVariable", {variable_key}, "Cells where a variable is not zero."},
        {at_nodes, "BooleanNot", {one_mask_keys}, "The opposite of a mask."},
        {at_nodes, "BooleanAndMask", {several_masks_keys}, "Nodes in all masks."},
        {at_nodes, "BooleanOrMask", {several_masks_keys}, "Nodes in one of the masks."},
        {at_edges, "EdgeLength", {norm_keys}, "Great-circle length."},
        {at_edges, "EdgeDirection", {norm_keys}, "Direction towards the source, two components."},
        {at_edges, "Azimuth", {norm_keys}, "Angle of the direction."},
        {at_edges, "DirectionalHarmonics", {harmonics_keys, norm_keys}, "Sines and cosines of the angle."},
        {at_edges, "GaussianDistanceWeights", {sigma_keys, norm_keys}, "Gaussian of the length."},
        {at_edges, "RadialBasisFeatures", {radial_keys, norm_keys}, "Several Gaussians of the length."},
        {at_edges, "AttributeFromSourceNode", {node_attr_key}, "An attribute of the source."},
        {at_edges, "AttributeFromTargetNode", {node_attr_key}, "An attribute of the target."},
        {post, "RemoveUnconnectedNodes", {nodes_keys, ignore_key}, "Drops nodes without edges."},
        {post, "SubsetNodesInArea", {nodes_keys, area_key}, "Keeps the nodes of an area."},
        {post, "RestrictEdgeLength", {edge_set_keys, length_keys, mask_keys}, "Drops long edges."},
        {post, "RemoveSelfEdges", {edge_set_keys}, "Drops edges from a node to itself."},
        {post, "SortEdgeIndexBySourceNodes", {descending_key}, "Orders edges by source."},
        {post, "SortEdgeIndexByTargetNodes", {descending_key}, "Orders edges by target."},
    };
}

} // namespace gradwind
