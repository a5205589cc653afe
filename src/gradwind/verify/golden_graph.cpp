// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Cases of kind "graph": builds what case.json describes and compares it with graph.safetensors and
// variants.safetensors.
#include <array>
#include <nlohmann/json.hpp>

#include "gradwind/core/config.h"
#include "gradwind/core/error.h"
#include "gradwind/core/safetensors.h"
#include "gradwind/graph/build.h"
#include "gradwind/grid/neighbours.h"
#include "gradwind/verify/graph_compare.h"
#include "gradwind/verify/report.h"

namespace gradwind::verify
{

namespace
{

using nlohmann::json;

constexpr double kReferenceDistanceTolerance = 1e-6;

/// Tensors that describe how a case was made and are no attributes of a graph.
constexpr std::array<const char*, 3> kNoAttributes{"node_ordering", "latitude_degrees", "longitude_degrees"};

graph::Graph read_stored(const std::filesystem::path& path, const std::string& prefix = {})
{
    graph::ReadGraphOptions options;
    options.prefix = prefix;
    options.invalid_edges = graph::ReadGraphOptions::InvalidEdges::Drop; // as the HEALPix case has them
    graph::Graph stored = graph::read_graph(path, options);
    for (graph::NodeSet& nodes : stored.nodes) {
        for (const char* name : kNoAttributes)
            nodes.attributes.erase(name);
    }
    return stored;
}

/// The data nodes, from the degrees that the case gives, through the builder for coordinates.
graph::NodeSet data_nodes(const std::filesystem::path& path)
{
    const SafetensorsFile file(path);
    json builder;
    builder["_target_"] = "LatLonNodes";
    builder["latitudes"] = file.values<double>("nodes.data.latitude_degrees");
    builder["longitudes"] = file.values<double>("nodes.data.longitude_degrees");
    json section;
    section["nodes"]["data"]["node_builder"] = builder;
    return graph::build_graph(Config::from_json(section, path.string()), {}).nodes.at(0);
}

/// Masks that a case set on the nodes by hand instead of building them.
constexpr const char* kGivenMask = "cutout_mask";

/// Some cases describe the data nodes in words; their attributes are these.
json attributes_by_name(const graph::NodeSet& stored)
{
    json attributes = json::object();
    for (const auto& [name, attribute] : stored.attributes) {
        if (name == "area_weight")
            attributes[name] = {
                {"_target_", "MaskedPlanarAreaWeights"}, {"mask_node_attr_name", kGivenMask}, {"norm", "unit-max"}};
        else if (name == "planar_none")
            attributes[name] = {{"_target_", "PlanarAreaWeights"}, {"norm", nullptr}};
        else if (name == "spherical_unit_max")
            attributes[name] = {{"_target_", "SphericalAreaWeights"}, {"norm", "unit-max"}, {"fill_value", 0}};
        else if (name == "boundary_mask")
            attributes[name] = {{"_target_", "BooleanNot"}, {"masks", kGivenMask}};
    }
    return attributes;
}

/// A case folder, ready to be built with one section or another.
struct GraphCase {
    std::filesystem::path folder;
    graph::Graph stored;
    graph::GraphInputs inputs;
    json section;

    [[nodiscard]] graph::Graph build(const json& changed) const
    {
        return graph::build_graph(Config::from_json(changed, (folder / "case.json").string()), inputs);
    }
};

GraphCase open_case(const std::filesystem::path& folder, const json& description)
{
    const std::filesystem::path path = folder / "graph.safetensors";
    GraphCase result{folder, read_stored(path), {}, description.at("config")};
    graph::NodeSet data = data_nodes(path);
    const graph::NodeSet& stored = result.stored.node_set("data");
    if (stored.attributes.contains(kGivenMask))
        data.attributes[kGivenMask] = stored.attributes.at(kGivenMask);
    result.inputs.given_nodes["data"] = data;
    json& data_section = result.section["nodes"]["data"];
    if (data_section.at("node_builder").is_string())
        data_section = {{"attributes", attributes_by_name(stored)}};
    return result;
}

void check_reference_distances(const graph::Graph& built, const json& description, CaseReport& report)
{
    if (!description.contains("private"))
        return;
    for (const auto& [name, values] : description.at("private").items()) {
        if (!values.contains("reference_distance"))
            continue;
        const graph::NodeSet& nodes = built.node_set(name);
        const grid::NeighbourTree tree(grid::unit_vectors(nodes.lat_rad, nodes.lon_rad));
        const double expected = values.at("reference_distance").get<double>();
        report.check("nodes." + name + ".reference distance",
                     std::abs(grid::reference_distance(tree) - expected) / expected, kReferenceDistanceTolerance);
    }
}

/// Variants of edge builders: `<variant>.edge_index` and attributes that are not normalised.
void check_edge_variant(const GraphCase& graph_case, const std::string& name, const json& variant, CaseReport& report)
{
    const SafetensorsFile file(graph_case.folder / "variants.safetensors");
    graph::Graph stored = graph_case.stored;
    const std::string source = variant.at("source");
    const std::string target = variant.at("target");
    const auto index = file.values<int64_t>(name + ".edge_index");
    const auto middle = index.begin() + static_cast<std::ptrdiff_t>(index.size() / 2);
    graph::EdgeSet edges{source, target, {index.begin(), middle}, {middle, index.end()}, {}};
    json attributes;
    for (const auto& [attribute, target_class] :
         {std::pair{"edge_length", "EdgeLength"}, {"edge_dirs", "EdgeDirection"}}) {
        const std::string tensor = name + "." + attribute;
        edges.attributes[attribute] = {edges.size(), file.info(tensor).shape.at(1), file.values<float>(tensor)};
        attributes[attribute] = {{"_target_", target_class}, {"norm", nullptr}};
    }
    stored.edges = {std::move(edges)};
    json section = graph_case.section;
    section["edges"] = json::array({{{"source_name", source},
                                     {"target_name", target},
                                     {"edge_builders", variant.at("edge_builders")},
                                     {"attributes", attributes}}});
    compare_graphs(graph_case.build(section), stored, report, name + ": ");
}

/// Variants of post-processors: a whole graph each, `<variant>.nodes...` and `<variant>.edges...`.
void check_processor_variant(const GraphCase& graph_case, const std::string& name, const json& variant,
                             CaseReport& report)
{
    json section = graph_case.section;
    section["post_processors"] = variant.at("post_processors");
    const graph::Graph stored = read_stored(graph_case.folder / "variants.safetensors", name + ".");
    compare_graphs(graph_case.build(section), stored, report, name + ": ");
}

} // namespace

CaseReport verify_graph_case(const std::filesystem::path& folder, const json& description)
{
    CaseReport report;
    report.name = folder.filename().string();
    const GraphCase graph_case = open_case(folder, description);
    json section = graph_case.section;
    if (section.contains("edges") && !section.at("edges").is_array())
        section.erase("edges"); // in words: the edges are those of the variants
    const graph::Graph built = graph_case.build(section);
    check_reference_distances(built, description, report);
    compare_graphs(built, graph_case.stored, report);
    if (!description.contains("variants") || !description.at("variants").is_object())
        return report;
    for (const auto& [name, variant] : description.at("variants").items()) {
        if (variant.contains("edge_builders"))
            check_edge_variant(graph_case, name, variant, report);
        else if (variant.contains("post_processors"))
            check_processor_variant(graph_case, name, variant, report);
    }
    return report;
}

} // namespace gradwind::verify
