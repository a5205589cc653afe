// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cmath>
#include <fmt/ranges.h>

#include "gradwind/core/error.h"
#include "gradwind/core/text.h"
#include "gradwind/graph/builder.h"
#include "gradwind/grid/sphere.h"
#include "gradwind/grid/threads.h"

namespace gradwind::graph::detail
{

namespace
{

/// Sine and cosine of a node's position, from the rounded radians; z of the unit vector is sin_lat.
struct Position {
    double sin_lat;
    double cos_lat;
    double sin_lon;
    double cos_lon;
};

std::vector<Position> positions(const NodeSet& nodes)
{
    std::vector<Position> result(nodes.lat_rad.size());
    grid::for_each_chunk(nodes.size(), [&](int64_t begin, int64_t end) {
        for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
            const double lat = nodes.lat_rad[i];
            const double lon = nodes.lon_rad[i];
            result[i] = {std::sin(lat), std::cos(lat), std::sin(lon), std::cos(lon)};
        }
    });
    return result;
}

struct EdgeGeometry {
    const EdgeSet& edges;
    const NodeSet& source;
    const NodeSet& target;
};

/// Calls value(source position, target position, row of the result) for every edge.
template <class Value>
Attribute per_edge(const EdgeGeometry& geometry, int64_t n_cols, const Value& value)
{
    const std::vector<Position> targets = positions(geometry.target);
    const std::vector<Position> others =
        &geometry.source == &geometry.target ? std::vector<Position>{} : positions(geometry.source);
    const std::vector<Position>& sources = others.empty() ? targets : others;
    const EdgeSet& edges = geometry.edges;
    Attribute result{edges.size(), n_cols, std::vector<float>(static_cast<size_t>(edges.size() * n_cols))};
    grid::for_each_chunk(edges.size(), [&](int64_t begin, int64_t end) {
        for (auto e = static_cast<size_t>(begin); e < static_cast<size_t>(end); ++e)
            value(sources[static_cast<size_t>(edges.src[e])], targets[static_cast<size_t>(edges.dst[e])],
                  result.values.data() + e * static_cast<size_t>(n_cols));
    });
    return result;
}

/// Great-circle distance on the unit sphere. The haversine is a quarter of the squared chord.
double length(const Position& s, const Position& t)
{
    const double dx = s.cos_lat * s.cos_lon - t.cos_lat * t.cos_lon;
    const double dy = s.cos_lat * s.sin_lon - t.cos_lat * t.sin_lon;
    const double dz = s.sin_lat - t.sin_lat;
    return grid::arc_of_chord(std::sqrt(dx * dx + dy * dy + dz * dz));
}

/// Unit vector towards the source after the sphere has been turned so that the target is the north pole (spec §1.5).
/// The rotation about (sin lon, -cos lon, 0), written out in the frame of the target's meridian; it is defined at the
/// south pole too, because the target keeps its longitude there. A target on the north pole is not turned.
std::array<double, 2> direction(const Position& s, const Position& t)
{
    constexpr double kPole = 1 - 1e-8;
    constexpr double kSmallest = 1e-8;
    const double sx = s.cos_lat * s.cos_lon;
    const double sy = s.cos_lat * s.sin_lon;
    double x = sx;
    double y = sy;
    if (t.sin_lat <= kPole) {
        const double outward = sx * t.cos_lon + sy * t.sin_lon;
        const double along_axis = sx * t.sin_lon - sy * t.cos_lon;
        const double turned = outward * t.sin_lat - s.sin_lat * t.cos_lat;
        x = turned * t.cos_lon + along_axis * t.sin_lon;
        y = turned * t.sin_lon - along_axis * t.cos_lon;
    }
    const double norm = std::max(std::hypot(x, y), kSmallest);
    return {x / norm, y / norm};
}

Attribute lengths(const EdgeGeometry& geometry)
{
    return per_edge(geometry, 1, [](const Position& s, const Position& t, float* row) {
        row[0] = static_cast<float>(length(s, t));
    });
}

Attribute edge_length(const EdgeGeometry& geometry, const Config& config)
{
    check_keys(config, {"norm", "dtype"});
    Attribute result = lengths(geometry);
    normalise(result, norm_of(config), config);
    return result;
}

Attribute edge_direction(const EdgeGeometry& geometry, const Config& config)
{
    check_keys(config, {"norm", "dtype"});
    Attribute result = per_edge(geometry, 2, [](const Position& s, const Position& t, float* row) {
        const std::array<double, 2> towards = direction(s, t);
        row[0] = static_cast<float>(towards[0]);
        row[1] = static_cast<float>(towards[1]);
    });
    normalise(result, norm_of(config), config);
    return result;
}

/// Bearing of the source seen from the target, from north over east.
Attribute azimuth(const EdgeGeometry& geometry, const Config& config)
{
    check_keys(config, {"norm", "dtype"});
    Attribute result = per_edge(geometry, 1, [](const Position& s, const Position& t, float* row) {
        const double cos_difference = s.cos_lon * t.cos_lon + s.sin_lon * t.sin_lon;
        const double sin_difference = s.sin_lon * t.cos_lon - s.cos_lon * t.sin_lon;
        const double east = sin_difference * s.cos_lat;
        const double north = t.cos_lat * s.sin_lat - t.sin_lat * s.cos_lat * cos_difference;
        row[0] = static_cast<float>(std::atan2(east, north));
    });
    normalise(result, norm_of(config), config);
    return result;
}

/// sin(m a), cos(m a) for m = 1 to order, where a is the angle of the edge direction.
Attribute directional_harmonics(const EdgeGeometry& geometry, const Config& config)
{
    check_keys(config, {"norm", "dtype", "order"});
    const int64_t order = config.get<int64_t>("order", 3);
    GRADWIND_CHECK(order >= 1 && order <= 1000, ConfigError, "[graph] {} must be 1 to 1000, got {}",
                   config.at("order").where(), order);
    Attribute result = per_edge(geometry, 2 * order, [order](const Position& s, const Position& t, float* row) {
        const std::array<double, 2> towards = direction(s, t);
        const double angle = std::atan2(towards[1], towards[0]);
        for (int64_t m = 1; m <= order; ++m) {
            row[2 * m - 2] = static_cast<float>(std::sin(static_cast<double>(m) * angle));
            row[2 * m - 1] = static_cast<float>(std::cos(static_cast<double>(m) * angle));
        }
    });
    normalise(result, norm_of(config), config);
    return result;
}

Attribute gaussian_distance_weights(const EdgeGeometry& geometry, const Config& config)
{
    check_keys(config, {"norm", "dtype", "sigma"});
    const double sigma = config.get<double>("sigma", 1.0);
    GRADWIND_CHECK(sigma > 0, ConfigError, "[graph] {} must be positive, got {}", config.at("sigma").where(), sigma);
    Attribute result = lengths(geometry);
    for (float& value : result.values)
        value = static_cast<float>(std::exp(-(static_cast<double>(value) * value) / (2 * sigma * sigma)));
    normalise_by_group(result, norm_of(config, "l1"), geometry.edges.dst, geometry.target.size(), config);
    return result;
}

/// exp(-((d / r - c) / sigma)^2) for each centre c; r is `r_scale`, or the longest edge of the same target.
Attribute radial_basis_features(const EdgeGeometry& geometry, const Config& config)
{
    check_keys(config, {"norm", "dtype", "r_scale", "centers", "sigma", "epsilon"});
    const auto centres = config.get<std::vector<double>>("centers", {0, 0.25, 0.5, 0.75, 1});
    const double sigma = config.get<double>("sigma", 0.2);
    GRADWIND_CHECK(sigma > 0 && !centres.empty(), ConfigError, "[graph] {} needs centers and a positive sigma",
                   config.where());
    const Attribute distances = lengths(geometry);
    const EdgeSet& edges = geometry.edges;
    std::vector<float> scale(static_cast<size_t>(geometry.target.size()),
                             static_cast<float>(config.get<double>("r_scale", 0)));
    if (!config.has("r_scale")) {
        for (size_t e = 0; e < edges.dst.size(); ++e) {
            float& largest = scale[static_cast<size_t>(edges.dst[e])];
            largest = std::max(largest, distances.values[e]);
        }
    }
    Attribute result{edges.size(), static_cast<int64_t>(centres.size()), {}};
    result.values.reserve(edges.dst.size() * centres.size());
    const double smallest = config.get<double>("epsilon", 1e-10);
    for (size_t e = 0; e < edges.dst.size(); ++e) {
        const double divisor = std::max(static_cast<double>(scale[static_cast<size_t>(edges.dst[e])]), smallest);
        for (const double centre : centres) {
            const double offset = (distances.values[e] / divisor - centre) / sigma;
            result.values.push_back(static_cast<float>(std::exp(-offset * offset)));
        }
    }
    normalise_by_group(result, norm_of(config, "l1"), edges.dst, geometry.target.size(), config);
    return result;
}

Attribute from_nodes(const NodeSet& nodes, const std::vector<int32_t>& ids, const Config& config)
{
    check_keys(config, {"node_attr_name", "norm", "dtype"});
    const auto name = config.get<std::string>("node_attr_name");
    const auto found = nodes.attributes.find(name);
    GRADWIND_CHECK(found != nodes.attributes.end(), ConfigError, "[graph] {}: node set `{}` has no attribute `{}`",
                   config.at("node_attr_name").where(), nodes.name, name);
    const Attribute& attribute = found->second;
    Attribute result{static_cast<int64_t>(ids.size()), attribute.n_cols, {}};
    for (const int32_t id : ids) {
        const auto row = attribute.values.begin() + id * attribute.n_cols;
        result.values.insert(result.values.end(), row, row + attribute.n_cols);
    }
    normalise(result, norm_of(config), config);
    return result;
}

Attribute from_source(const EdgeGeometry& geometry, const Config& config)
{
    return from_nodes(geometry.source, geometry.edges.src, config);
}

Attribute from_target(const EdgeGeometry& geometry, const Config& config)
{
    return from_nodes(geometry.target, geometry.edges.dst, config);
}

using Function = Attribute (*)(const EdgeGeometry&, const Config&);
constexpr std::array<std::pair<const char*, Function>, 8> kAttributes{{
    {"EdgeLength", edge_length},
    {"EdgeDirection", edge_direction},
    {"Azimuth", azimuth},
    {"DirectionalHarmonics", directional_harmonics},
    {"RadialBasisFeatures", radial_basis_features},
    {"GaussianDistanceWeights", gaussian_distance_weights},
    {"AttributeFromSourceNode", from_source},
    {"AttributeFromTargetNode", from_target},
}};

} // namespace

Attribute edge_attribute(const EdgeSet& edges, const NodeSet& source, const NodeSet& target, const Config& attribute)
{
    const std::string name = attribute.target();
    std::vector<std::string> known;
    for (const auto& [known_name, function] : kAttributes) {
        if (name == known_name)
            return function({edges, source, target}, attribute);
        known.emplace_back(known_name);
    }
    throw ConfigError(fmt::format("[graph] unknown edge attribute `{}` at {}{}; known are {}", name, attribute.where(),
                                  did_you_mean(name, known), fmt::join(known, ", ")));
}

} // namespace gradwind::graph::detail
