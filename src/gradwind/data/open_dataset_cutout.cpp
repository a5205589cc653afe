// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Which points of a global data set lie outside limited areas. A point is inside where a ray from the centre of the
// Earth through it hits a triangle of its nearest points in the area, or where it is too close to one of them.
#include "gradwind/core/error.h"
#include "gradwind/data/open_dataset_impl.h"
#include "gradwind/grid/neighbours.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numbers>

namespace gradwind::data::detail
{

namespace
{

using Vec3 = std::array<double, 3>;

constexpr double kEarthRadiusKm = 6371.229; // of the original's meteorological constants
constexpr double kDegree = std::numbers::pi / 180;
constexpr double kParallel = 1e-7;

Vec3 operator-(const Vec3& a, const Vec3& b)
{
    return {a[0] - b[0], a[1] - b[1], a[2] - b[2]};
}

double dot(const Vec3& a, const Vec3& b)
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

Vec3 cross(const Vec3& a, const Vec3& b)
{
    return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}

double distance(const Vec3& a, const Vec3& b)
{
    const auto d = a - b;
    return std::sqrt(dot(d, d));
}

/// Whether a ray from the origin hits a triangle (Moeller and Trumbore 1997).
bool hits(const Vec3& direction, const Vec3& v0, const Vec3& v1, const Vec3& v2)
{
    const auto edge1 = v1 - v0, edge2 = v2 - v0;
    const auto h = cross(direction, edge2);
    const double a = dot(edge1, h);
    if (a > -kParallel && a < kParallel)
        return false;
    const Vec3 s{-v0[0], -v0[1], -v0[2]};
    const double u = dot(s, h) / a;
    const auto q = cross(s, edge1);
    const double v = dot(direction, q) / a;
    return u >= 0 && u <= 1 && v >= 0 && u + v <= 1 && dot(edge2, q) / a > kParallel;
}

struct Points {
    std::vector<Vec3> at;
    grid::UnitVectors single; ///< the same, for the search of neighbours
};

Points points_of(const std::vector<double>& latitudes, const std::vector<double>& longitudes,
                 const std::vector<int64_t>& cells)
{
    Points points;
    for (const auto cell : cells) {
        const double lat = kDegree * latitudes[size_t(cell)], lon = kDegree * longitudes[size_t(cell)];
        points.at.push_back({std::cos(lat) * std::cos(lon), std::cos(lat) * std::sin(lon), std::sin(lat)});
        for (const double x : points.at.back())
            points.single.xyz.push_back(float(x));
    }
    return points;
}

/// Distance of every point to its nearest neighbour.
std::vector<double> spacings(const Points& points, const grid::NeighbourTree& tree)
{
    const auto lists = tree.nearest(points.single, 2);
    std::vector<double> result;
    for (size_t i = 0; i < points.at.size(); ++i)
        result.push_back(std::max(distance(points.at[i], points.at[size_t(lists.ids[2 * i])]),
                                  distance(points.at[i], points.at[size_t(lists.ids[2 * i + 1])])));
    return result;
}

struct Settings {
    double cropping_degrees = 2;
    int64_t neighbours = 5;
    std::optional<double> min_km, max_km;
};

/// A box of latitudes and longitudes, west in [0, 360) and east of it, whatever meridian the area lies on.
struct Box {
    double north = -90, south = 90, west = 0, east = 0;

    Box(const DatasetInfo& area, double margin)
    {
        std::vector<double> around;
        for (size_t i = 0; i < area.latitudes.size(); ++i) {
            north = std::max(north, area.latitudes[i]);
            south = std::min(south, area.latitudes[i]);
            const double lon = std::fmod(area.longitudes[i], 360.0);
            around.push_back(lon < 0 ? lon + 360 : lon);
        }
        std::sort(around.begin(), around.end());
        west = around.front();
        east = around.back();
        double widest = around.front() + 360 - around.back();
        for (size_t i = 1; i < around.size(); ++i)
            if (around[i] - around[i - 1] > widest) {
                widest = around[i] - around[i - 1];
                west = around[i];
                east = around[i - 1] + 360;
            }
        north = std::min(90.0, north + margin);
        south = std::max(-90.0, south - margin);
        west -= margin;
        east += margin;
    }
    [[nodiscard]] bool contains(double latitude, double longitude) const
    {
        const auto within = [&](double turn) { return longitude >= west + turn && longitude <= east + turn; };
        return latitude >= south && latitude <= north && (within(0) || within(360) || within(-360));
    }
};

double margin_of(const DatasetInfo& area, const Settings& settings)
{
    if (!settings.max_km)
        return settings.cropping_degrees;
    double highest = 0;
    for (const auto latitude : area.latitudes)
        highest = std::max(highest, std::abs(latitude));
    const double km_per_degree = kEarthRadiusKm * std::cos(kDegree * highest) * kDegree;
    return std::max(settings.cropping_degrees, 1.1 * *settings.max_km / km_per_degree);
}

bool is_inside(const Vec3& point, const std::vector<Vec3>& area, const int32_t* nearest, int64_t count)
{
    for (int64_t j = 0; j < count; ++j)
        if (hits(point, area[size_t(nearest[j])], area[size_t(nearest[(j + 1) % count])],
                 area[size_t(nearest[(j + 2) % count])]))
            return true;
    return false;
}

/// @return per point of `globe`: 1 if it stays
std::vector<char> outside_of(const DatasetInfo& area, const DatasetInfo& globe, const Settings& settings)
{
    const double margin = margin_of(area, settings);
    const Box box(area, margin);
    std::vector<char> stays(globe.latitudes.size(), settings.max_km ? 0 : 1);
    std::vector<int64_t> near, all;
    for (size_t i = 0; i < stays.size(); ++i)
        if (box.contains(globe.latitudes[i], globe.longitudes[i]))
            near.push_back(int64_t(i));
    for (size_t i = 0; i < area.latitudes.size(); ++i)
        all.push_back(int64_t(i));
    if (near.empty())
        return stays;
    const auto points = points_of(globe.latitudes, globe.longitudes, near);
    const auto inner = points_of(area.latitudes, area.longitudes, all);
    const grid::NeighbourTree tree(inner.single);
    double too_close = settings.min_km.value_or(0) / kEarthRadiusKm;
    if (!settings.min_km && points.at.size() > 1) {
        const auto apart = spacings(points, grid::NeighbourTree(points.single));
        too_close = *std::min_element(apart.begin(), apart.end());
    }
    const auto inner_apart = spacings(inner, tree);
    const double reach =
        std::max({2 * std::sin(kDegree * margin / 2), too_close, settings.max_km.value_or(0) / kEarthRadiusKm,
                  3 * *std::max_element(inner_apart.begin(), inner_apart.end())});
    const auto lists = tree.nearest(points.single, settings.neighbours);
    for (size_t i = 0; i < near.size(); ++i) {
        const auto* nearest = lists.ids.data() + lists.offsets[i];
        const double closest = distance(points.at[i], inner.at[size_t(nearest[0])]);
        const bool in_reach = closest < reach;
        const bool is_far = settings.max_km && (!in_reach || closest > *settings.max_km / kEarthRadiusKm);
        const bool is_cut =
            in_reach && (closest <= too_close || is_inside(points.at[i], inner.at, nearest, settings.neighbours));
        stays[size_t(near[i])] = !is_far && !is_cut;
    }
    return stays;
}

/// Whether a point of one area is within a degree of one of the other, in latitude and longitude as written.
bool overlap(const DatasetInfo& a, const DatasetInfo& b)
{
    std::map<std::pair<int, int>, std::vector<size_t>> by_degree;
    const auto degree = [](double x) { return int(std::floor(x)); };
    for (size_t i = 0; i < a.latitudes.size(); ++i)
        by_degree[{degree(a.latitudes[i]), degree(a.longitudes[i])}].push_back(i);
    for (size_t i = 0; i < b.latitudes.size(); ++i)
        for (int place = 0; place < 9; ++place) {
            const auto found =
                by_degree.find({degree(b.latitudes[i]) + place / 3 - 1, degree(b.longitudes[i]) + place % 3 - 1});
            if (found == by_degree.end())
                continue;
            for (const auto k : found->second)
                if (std::hypot(a.latitudes[k] - b.latitudes[i], a.longitudes[k] - b.longitudes[i]) < 1)
                    return true;
        }
    return false;
}

Settings settings_of(const Config& options)
{
    Settings settings;
    const auto number = [&](const char* key) -> std::optional<double> {
        if (!options.has(key))
            return std::nullopt;
        const auto value = options.get<double>(key);
        GRADWIND_CHECK(value >= 0, ConfigError, "[data] {} is {}, expected 0 or more", options.at(key).where(), value);
        return value;
    };
    settings.cropping_degrees = number("cropping_distance").value_or(2);
    settings.min_km = number("min_distance_km");
    settings.max_km = number("max_distance_km");
    settings.neighbours = options.get<int64_t>("neighbours", 5);
    GRADWIND_CHECK(settings.neighbours >= 3, ConfigError, "[data] {} is {}; triangles need 3 or more",
                   options.at("neighbours").where(), settings.neighbours);
    return settings;
}

} // namespace

std::vector<std::vector<char>> cutout_masks(const Config& options, const std::vector<Opened>& parts)
{
    const auto settings = settings_of(options);
    std::vector<std::vector<char>> masks;
    for (const auto& part : parts)
        masks.emplace_back(part.selection.info.latitudes.size(), char(1));
    const auto cut = [&](const Opened& area, size_t part) {
        const auto& info = area.selection.info;
        GRADWIND_CHECK(int64_t(info.latitudes.size()) >= settings.neighbours, ConfigError,
                       "[data] {}: {} has {} cells, fewer than the {} neighbours that are asked for",
                       options.at("cutout").where(), info.name, info.latitudes.size(), settings.neighbours);
        const auto stays = outside_of(info, parts[part].selection.info, settings);
        for (size_t cell = 0; cell < stays.size(); ++cell)
            masks[part][cell] &= stays[cell];
    };
    for (size_t area = 0; area + 1 < parts.size(); ++area) {
        cut(parts[area], parts.size() - 1);
        for (size_t earlier = 0; earlier < area; ++earlier)
            if (overlap(parts[earlier].selection.info, parts[area].selection.info))
                cut(parts[earlier], area);
    }
    return masks;
}

} // namespace gradwind::data::detail
