// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cmath>
#include <fmt/ranges.h>
#include <fstream>
#include <numbers>
#include <sstream>

#include "gradwind/core/error.h"
#include "gradwind/core/text.h"
#include "gradwind/graph/builder.h"
#include "gradwind/grid/gaussian.h"
#include "gradwind/grid/healpix.h"
#include "gradwind/grid/npz.h"

namespace gradwind::graph::detail
{

namespace
{

constexpr double kDefaultMarginKm = 100;

/// Which points lie within margin_radius_km of a (masked) reference node set (spec §1.2: along the surface).
std::vector<uint8_t> area_mask(Builder& builder, const Config& config, const grid::UnitVectors& points)
{
    const auto reference = config.get<std::string>("reference_node_name");
    const double margin_km = config.get<double>("margin_radius_km", kDefaultMarginKm);
    GRADWIND_CHECK(margin_km >= 0 && margin_km < std::numbers::pi * grid::kEarthRadiusKm, ConfigError,
                   "[graph] {} must be between 0 and half the Earth's circumference, got {} km",
                   config.at("margin_radius_km").where(), margin_km);
    NodeGeometry& geometry = builder.geometry_of(reference);
    std::optional<grid::NeighbourTree> selected;
    if (config.has("mask_attr_name")) {
        const std::vector<uint8_t> mask =
            node_mask(builder.graph.node_set(reference), config.get<std::string>("mask_attr_name"));
        std::vector<int> ids;
        for (size_t i = 0; i < mask.size(); ++i) {
            if (mask[i] != 0)
                ids.push_back(static_cast<int>(i));
        }
        GRADWIND_CHECK(!ids.empty(), ConfigError, "[graph] {}: the mask selects none of the {} nodes of `{}`",
                       config.at("mask_attr_name").where(), mask.size(), reference);
        selected.emplace(grid::select(geometry.points(), ids));
    }
    const grid::NeighbourTree& tree = selected ? *selected : geometry.tree();
    const grid::NeighbourLists nearest = tree.nearest(points, 1);
    const double limit = grid::chord_of_arc_km(margin_km);
    std::vector<uint8_t> mask;
    mask.reserve(points.size());
    for (const double chord : nearest.chords)
        mask.push_back(chord <= limit ? 1 : 0);
    return mask;
}

void check_not_empty(const NodeSet& nodes, const Config& config)
{
    GRADWIND_CHECK(nodes.size() > 0, ConfigError,
                   "[graph] no node of `{}` lies within the area of {}; take a finer resolution or a larger "
                   "margin_radius_km",
                   nodes.name, config.where());
}

NodeSet masked(const NodeSet& nodes, const std::vector<uint8_t>& mask)
{
    NodeSet kept;
    kept.name = nodes.name;
    for (size_t i = 0; i < mask.size(); ++i) {
        if (mask[i] != 0) {
            kept.lat_rad.push_back(nodes.lat_rad[i]);
            kept.lon_rad.push_back(nodes.lon_rad[i]);
        }
    }
    return kept;
}

void add(Builder& builder, NodeSet nodes)
{
    builder.graph.nodes.push_back(std::move(nodes));
}

void add_in_area(Builder& builder, const Config& config, const NodeSet& nodes)
{
    NodeSet kept = masked(nodes, area_mask(builder, config, grid::unit_vectors(nodes.lat_rad, nodes.lon_rad)));
    check_not_empty(kept, config);
    add(builder, std::move(kept));
}

/// Finest of `resolution`, an int or a list of ints.
int64_t finest(const Config& resolution)
{
    if (!resolution.is_list())
        return resolution.as<int64_t>();
    const auto list = resolution.as<std::vector<int64_t>>();
    GRADWIND_CHECK(!list.empty(), ConfigError, "[graph] {} is empty", resolution.where());
    return *std::max_element(list.begin(), list.end());
}

/// Makes nodes of the vertices that `kept` selects (empty: all), in mesh order, and remembers which became which.
void add_mesh(Builder& builder, const std::string& name, TriMesh mesh, const grid::OrderedVertices& vertices,
              const std::vector<uint8_t>& kept, const Config& config)
{
    NodeSet nodes;
    nodes.name = name;
    mesh.node_of_vertex.assign(vertices.order.size(), -1);
    for (const int32_t vertex : vertices.order) {
        const auto v = static_cast<size_t>(vertex);
        if (!kept.empty() && kept[v] == 0)
            continue;
        mesh.node_of_vertex[v] = static_cast<int32_t>(nodes.lat_rad.size());
        nodes.lat_rad.push_back(vertices.lat_rad[v]);
        nodes.lon_rad.push_back(vertices.lon_rad[v]);
    }
    check_not_empty(nodes, config);
    add(builder, std::move(nodes));
    builder.geometry_of(name).tri = std::move(mesh);
}

void tri_nodes(Builder& builder, const std::string& name, const Config& config)
{
    check_keys(config, {"resolution"});
    TriMesh mesh;
    mesh.sphere = std::make_shared<grid::Icosphere>(finest(config.at("resolution")));
    const grid::OrderedVertices vertices = grid::order_vertices(*mesh.sphere);
    add_mesh(builder, name, std::move(mesh), vertices, {}, config);
}

void limited_area_tri_nodes(Builder& builder, const std::string& name, const Config& config)
{
    check_keys(config, {"resolution", "reference_node_name", "mask_attr_name", "margin_radius_km"});
    TriMesh mesh;
    mesh.sphere = std::make_shared<grid::Icosphere>(finest(config.at("resolution")));
    const grid::OrderedVertices vertices = grid::order_vertices(*mesh.sphere);
    mesh.in_area = area_mask(builder, config, grid::unit_vectors(vertices.lat_rad, vertices.lon_rad));
    const std::vector<uint8_t> kept = mesh.in_area;
    add_mesh(builder, name, std::move(mesh), vertices, kept, config);
}

void stretched_tri_nodes(Builder& builder, const std::string& name, const Config& config)
{
    check_keys(config,
               {"global_resolution", "lam_resolution", "reference_node_name", "mask_attr_name", "margin_radius_km"});
    const auto coarse = config.get<int64_t>("global_resolution");
    const auto fine = config.get<int64_t>("lam_resolution");
    GRADWIND_CHECK(coarse >= 0 && fine >= coarse, ConfigError,
                   "[graph] {}: lam_resolution ({}) must not be coarser than global_resolution ({})", config.where(),
                   fine, coarse);
    TriMesh mesh;
    mesh.sphere = std::make_shared<grid::Icosphere>(fine);
    const grid::OrderedVertices vertices = grid::order_vertices(*mesh.sphere);
    mesh.in_area = area_mask(builder, config, grid::unit_vectors(vertices.lat_rad, vertices.lon_rad));
    std::vector<uint8_t> kept = mesh.in_area;
    std::fill_n(kept.begin(), grid::Icosphere::vertex_count(coarse), uint8_t{1});
    add_mesh(builder, name, std::move(mesh), vertices, kept, config);
}

void healpix_nodes(Builder& builder, const std::string& name, const Config& config)
{
    check_keys(config, {"resolution"});
    const auto resolution = config.get<int64_t>("resolution");
    add(builder, nodes_from_degrees(name, grid::healpix_grid(resolution)));
    builder.geometry_of(name).healpix = HealpixMesh{resolution};
}

void limited_area_healpix_nodes(Builder& builder, const std::string& name, const Config& config)
{
    check_keys(config, {"resolution", "reference_node_name", "mask_attr_name", "margin_radius_km"});
    add_in_area(builder, config, nodes_from_degrees(name, grid::healpix_grid(config.get<int64_t>("resolution"))));
}

void reduced_gaussian_nodes(Builder& builder, const std::string& name, const Config& config)
{
    check_keys(config, {"grid"});
    add(builder, nodes_from_degrees(name, grid::named_gaussian_grid(config.get<std::string>("grid"))));
}

void dataset_nodes(Builder& builder, const std::string& name, const Config& config)
{
    check_keys(config, {"dataset"});
    GRADWIND_CHECK(static_cast<bool>(builder.inputs.dataset_coordinates), ConfigError,
                   "[graph] {} takes its nodes from a data set, but no data set is at hand here", config.where());
    add(builder, nodes_from_degrees(name, builder.inputs.dataset_coordinates(config.at("dataset"))));
    builder.geometry_of(name).dataset = config.at("dataset");
}

void lat_lon_nodes(Builder& builder, const std::string& name, const Config& config)
{
    check_keys(config, {"latitudes", "longitudes"});
    add(builder, nodes_from_degrees(name, {config.get<std::vector<double>>("latitudes"),
                                           config.get<std::vector<double>>("longitudes")}));
}

grid::Coordinates npz_coordinates(const Config& config)
{
    const std::filesystem::path path = config.get<std::string>("npz_file");
    return {grid::read_npz_doubles(path, config.get<std::string>("lat_key", "latitudes")),
            grid::read_npz_doubles(path, config.get<std::string>("lon_key", "longitudes"))};
}

void npz_nodes(Builder& builder, const std::string& name, const Config& config)
{
    check_keys(config, {"npz_file", "lat_key", "lon_key"});
    add(builder, nodes_from_degrees(name, npz_coordinates(config)));
}

void limited_area_npz_nodes(Builder& builder, const std::string& name, const Config& config)
{
    check_keys(config, {"npz_file", "lat_key", "lon_key", "reference_node_name", "mask_attr_name", "margin_radius_km"});
    add_in_area(builder, config, nodes_from_degrees(name, npz_coordinates(config)));
}

void text_nodes(Builder& builder, const std::string& name, const Config& config)
{
    check_keys(config, {"dataset", "idx_lon", "idx_lat"});
    const auto path = config.get<std::string>("dataset");
    const auto lon_column = config.get<int64_t>("idx_lon", 0);
    const auto lat_column = config.get<int64_t>("idx_lat", 1);
    std::ifstream file(path);
    GRADWIND_CHECK(file.good(), DataError, "[graph] cannot read {} ({})", path, config.at("dataset").where());
    grid::Coordinates coordinates;
    std::string line;
    for (int64_t number = 1; std::getline(file, line); ++number) {
        std::istringstream stream(line.substr(0, line.find('#')));
        const std::vector<double> values{std::istream_iterator<double>(stream), {}};
        if (values.empty() && stream.eof())
            continue;
        const auto n_values = static_cast<int64_t>(values.size());
        GRADWIND_CHECK(
            lon_column >= 0 && lat_column >= 0 && lon_column < n_values && lat_column < n_values, DataError,
            "[graph] {}:{} has {} numbers; longitude is expected in column {}, latitude in column {} (from 0)", path,
            number, n_values, lon_column, lat_column);
        coordinates.lon_deg.push_back(values[static_cast<size_t>(lon_column)]);
        coordinates.lat_deg.push_back(values[static_cast<size_t>(lat_column)]);
    }
    add(builder, nodes_from_degrees(name, coordinates));
}

using NodeBuilder = void (*)(Builder&, const std::string&, const Config&);
constexpr std::array<std::pair<const char*, NodeBuilder>, 11> kNodeBuilders{{
    {"AnemoiDatasetNodes", dataset_nodes},
    {"ReducedGaussianGridNodes", reduced_gaussian_nodes},
    {"TriNodes", tri_nodes},
    {"LimitedAreaTriNodes", limited_area_tri_nodes},
    {"StretchedTriNodes", stretched_tri_nodes},
    {"HEALPixNodes", healpix_nodes},
    {"LimitedAreaHEALPixNodes", limited_area_healpix_nodes},
    {"LatLonNodes", lat_lon_nodes},
    {"NPZFileNodes", npz_nodes},
    {"LimitedAreaNPZFileNodes", limited_area_npz_nodes},
    {"TextNodes", text_nodes},
}};

} // namespace

void build_nodes(Builder& builder, const std::string& name, const Config& node_builder)
{
    const std::string target = node_builder.target();
    std::vector<std::string> known;
    for (const auto& [known_target, build] : kNodeBuilders) {
        if (target == known_target) {
            build(builder, name, node_builder);
            return;
        }
        known.emplace_back(known_target);
    }
    refuse_target("node builder", node_builder, known,
                  {"HexNodes", "LimitedAreaHexNodes", "XArrayNodes", "ICONMultiMeshNodes", "ICONCellGridNodes"});
}

} // namespace gradwind::graph::detail
