// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cmath>
#include <fmt/ranges.h>
#include <numbers>
#include <numeric>

#include "gradwind/core/error.h"
#include "gradwind/core/text.h"
#include "gradwind/graph/builder.h"
#include "gradwind/grid/sphere.h"
#include "gradwind/grid/voronoi.h"

namespace gradwind::graph::detail
{

namespace
{

/// Rounds to single precision, then normalises (spec §1.6).
Attribute weights(const std::vector<double>& values, const Config& config)
{
    Attribute result{static_cast<int64_t>(values.size()), 1, std::vector<float>(values.begin(), values.end())};
    normalise(result, norm_of(config), config);
    return result;
}

Attribute spherical_area_weights(Builder&, const NodeSet& nodes, const Config& config)
{
    check_keys(config, {"norm", "dtype", "radius", "centre", "center", "fill_value"});
    const double radius = config.get<double>("radius", 1.0);
    const double fill_value = config.get<double>("fill_value", 0.0);
    GRADWIND_CHECK(radius > 0, ConfigError, "[graph] {} must be positive, got {}", config.at("radius").where(), radius);
    std::vector<double> areas = grid::spherical_cell_areas(nodes.lat_rad, nodes.lon_rad);
    for (double& area : areas)
        area = area > 0 ? area * radius * radius : fill_value;
    return weights(areas, config);
}

Attribute planar_area_weights(Builder&, const NodeSet& nodes, const Config& config)
{
    check_keys(config, {"norm", "dtype"});
    return weights(grid::planar_cell_areas(nodes.lat_rad, nodes.lon_rad), config);
}

/// Cells of the selected nodes alone; 0 elsewhere.
Attribute masked_planar_area_weights(Builder&, const NodeSet& nodes, const Config& config)
{
    check_keys(config, {"norm", "dtype", "mask_node_attr_name"});
    const std::vector<uint8_t> mask = node_mask(nodes, config.get<std::string>("mask_node_attr_name"));
    std::vector<float> lat;
    std::vector<float> lon;
    for (size_t i = 0; i < mask.size(); ++i) {
        if (mask[i] != 0) {
            lat.push_back(nodes.lat_rad[i]);
            lon.push_back(nodes.lon_rad[i]);
        }
    }
    const std::vector<double> selected = lat.empty() ? std::vector<double>{} : grid::planar_cell_areas(lat, lon);
    std::vector<double> areas(mask.size(), 0);
    size_t next = 0;
    for (size_t i = 0; i < mask.size(); ++i) {
        if (mask[i] != 0)
            areas[i] = selected[next++];
    }
    return weights(areas, config);
}

Attribute cosine_weights(Builder&, const NodeSet& nodes, const Config& config)
{
    check_keys(config, {"norm", "dtype", "min_value", "max_value"});
    const double min = config.get<double>("min_value", 1e-3);
    const double max = config.get<double>("max_value", 1.0);
    std::vector<double> values;
    for (const float lat : nodes.lat_rad)
        values.push_back((max - min) * std::cos(static_cast<double>(lat)) + min);
    return weights(values, config);
}

/// Area of the band between the latitudes half way to the neighbouring rings, shared by the points of a ring.
Attribute isolatitude_weights(Builder&, const NodeSet& nodes, const Config& config)
{
    check_keys(config, {"norm", "dtype"});
    std::vector<float> rings = nodes.lat_rad;
    std::sort(rings.begin(), rings.end());
    rings.erase(std::unique(rings.begin(), rings.end()), rings.end());
    const auto ring_of = [&](float lat) {
        return static_cast<size_t>(std::lower_bound(rings.begin(), rings.end(), lat) - rings.begin());
    };
    std::vector<int64_t> count(rings.size(), 0);
    for (const float lat : nodes.lat_rad)
        ++count[ring_of(lat)];
    const auto border = [&](size_t i) { // south of ring i
        if (i == 0 || i == rings.size())
            return (i == 0 ? -1 : 1) * std::numbers::pi / 2;
        return (static_cast<double>(rings[i - 1]) + rings[i]) / 2;
    };
    std::vector<double> values;
    for (const float lat : nodes.lat_rad) {
        const size_t ring = ring_of(lat);
        const double band = std::sin(border(ring + 1)) - std::sin(border(ring));
        values.push_back(2 * std::numbers::pi * grid::kEarthRadiusKm * band / static_cast<double>(count[ring]));
    }
    return weights(values, config);
}

Attribute uniform_weights(Builder&, const NodeSet& nodes, const Config& config)
{
    check_keys(config, {"norm", "dtype"});
    return weights(std::vector<double>(nodes.lat_rad.size(), 1), config);
}

/// 1 for the nodes of a mesh that lie within its area.
Attribute limited_area_mask(Builder& builder, const NodeSet& nodes, const Config& config)
{
    check_keys(config, {"norm", "dtype"});
    const std::optional<TriMesh>& mesh = builder.geometry_of(nodes.name).tri;
    GRADWIND_CHECK(mesh && !mesh->in_area.empty(), ConfigError,
                   "[graph] {} needs the nodes of LimitedAreaTriNodes or StretchedTriNodes; `{}` was made otherwise",
                   config.where(), nodes.name);
    std::vector<double> mask(nodes.lat_rad.size(), 0);
    for (size_t vertex = 0; vertex < mesh->in_area.size(); ++vertex) {
        if (mesh->node_of_vertex[vertex] >= 0)
            mask[static_cast<size_t>(mesh->node_of_vertex[vertex])] = mesh->in_area[vertex];
    }
    return weights(mask, config);
}

/// Masks named by `masks`: attributes of the node set, or attributes written out in place.
std::vector<std::vector<uint8_t>> operands(Builder& builder, const NodeSet& nodes, const Config& config)
{
    check_keys(config, {"masks", "norm", "dtype"});
    const Config masks = config.at("masks");
    const std::vector<Config> list = masks.is_list() ? masks.items() : std::vector<Config>{masks};
    GRADWIND_CHECK(!list.empty(), ConfigError, "[graph] {} names no mask", masks.where());
    std::vector<std::vector<uint8_t>> result;
    for (const Config& mask : list) {
        if (mask.is_map()) {
            NodeSet with_mask{nodes.name, {}, {}, {{"mask", node_attribute(builder, nodes, mask)}}};
            result.push_back(node_mask(with_mask, "mask"));
        } else {
            result.push_back(node_mask(nodes, mask.as<std::string>()));
        }
    }
    return result;
}

Attribute boolean_not(Builder& builder, const NodeSet& nodes, const Config& config)
{
    const std::vector<std::vector<uint8_t>> masks = operands(builder, nodes, config);
    GRADWIND_CHECK(masks.size() == 1, ConfigError, "[graph] {} takes one mask, got {}", config.where(), masks.size());
    std::vector<double> values;
    for (const uint8_t value : masks[0])
        values.push_back(value == 0 ? 1 : 0);
    return weights(values, config);
}

enum class Junction { And, Or };

Attribute boolean_junction(Builder& builder, const NodeSet& nodes, const Config& config, Junction junction)
{
    const std::vector<std::vector<uint8_t>> masks = operands(builder, nodes, config);
    std::vector<double> values(masks[0].begin(), masks[0].end());
    for (const std::vector<uint8_t>& mask : masks) {
        for (size_t i = 0; i < values.size(); ++i)
            values[i] =
                junction == Junction::And ? std::min<double>(values[i], mask[i]) : std::max<double>(values[i], mask[i]);
    }
    return weights(values, config);
}

Attribute boolean_and(Builder& builder, const NodeSet& nodes, const Config& config)
{
    return boolean_junction(builder, nodes, config, Junction::And);
}

Attribute boolean_or(Builder& builder, const NodeSet& nodes, const Config& config)
{
    return boolean_junction(builder, nodes, config, Junction::Or);
}

/// The cells of the inner data set of a `cutout`.
Attribute cut_out_mask(Builder& builder, const NodeSet& nodes, const Config& config)
{
    check_keys(config, {"norm", "dtype"});
    return weights(grid_membership(builder, nodes, config, {0}), config);
}

Attribute grids_mask(Builder& builder, const NodeSet& nodes, const Config& config)
{
    check_keys(config, {"grids", "norm", "dtype"});
    const bool is_list = config.has("grids") && config.at("grids").is_list();
    const auto grids = is_list ? config.get<std::vector<int64_t>>("grids")
                               : std::vector<int64_t>{config.get<int64_t>("grids", int64_t{0})};
    return weights(grid_membership(builder, nodes, config, grids), config);
}

Attribute variable_weights(Builder& builder, const NodeSet& nodes, const Config& config)
{
    return weights(dataset_field(builder, nodes, config), config);
}

Attribute nonmissing_mask(Builder& builder, const NodeSet& nodes, const Config& config)
{
    std::vector<double> values = dataset_field(builder, nodes, config);
    for (double& value : values)
        value = std::isnan(value) ? 0 : 1;
    return weights(values, config);
}

Attribute nonzero_mask(Builder& builder, const NodeSet& nodes, const Config& config)
{
    std::vector<double> values = dataset_field(builder, nodes, config);
    for (double& value : values)
        value = value != 0 ? 1 : 0; // a missing value is not zero, as in the original
    return weights(values, config);
}

using Function = Attribute (*)(Builder&, const NodeSet&, const Config&);
constexpr std::array<std::pair<const char*, Function>, 15> kAttributes{{
    {"SphericalAreaWeights", spherical_area_weights},
    {"PlanarAreaWeights", planar_area_weights},
    {"MaskedPlanarAreaWeights", masked_planar_area_weights},
    {"CosineLatWeightedAttribute", cosine_weights},
    {"IsolatitudeAreaWeights", isolatitude_weights},
    {"UniformWeights", uniform_weights},
    {"AnemoiDatasetVariableWeights", variable_weights},
    {"CutOutMask", cut_out_mask},
    {"GridsMask", grids_mask},
    {"NonmissingAnemoiDatasetVariable", nonmissing_mask},
    {"NonzeroAnemoiDatasetVariable", nonzero_mask},
    {"LimitedAreaMask", limited_area_mask},
    {"BooleanNot", boolean_not},
    {"BooleanAndMask", boolean_and},
    {"BooleanOrMask", boolean_or},
}};

} // namespace

Attribute node_attribute(Builder& builder, const NodeSet& nodes, const Config& attribute)
{
    const std::string name = attribute.target();
    std::vector<std::string> known;
    for (const auto& [known_name, function] : kAttributes) {
        if (name == known_name)
            return function(builder, nodes, attribute);
        known.emplace_back(known_name);
    }
    throw ConfigError(fmt::format("[graph] unknown node attribute `{}` at {}{}; known are {}", name, attribute.where(),
                                  did_you_mean(name, known), fmt::join(known, ", ")));
}

} // namespace gradwind::graph::detail
