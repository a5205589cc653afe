// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Graph sections that cannot work, each with the words that its message must hold.
#include "gradwind/core/error.h"
#include "gradwind/graph/build.h"

#include <gtest/gtest.h>
#include <limits>
#include <nlohmann/json.hpp>

namespace gradwind::graph
{

namespace
{

using nlohmann::json;

struct Row {
    const char* name;
    const char* pointer; ///< place that is changed in a section that works
    const char* value;   ///< JSON that is put there
    std::vector<const char*> words;
};

constexpr const char* kSection = R"({
  "nodes": {
    "data": {"node_builder": {"_target_": "LatLonNodes", "latitudes": [10, 20, 30, 40, 50], "longitudes": [0, 5, 1, 6, 2]},
             "attributes": {"weight": {"_target_": "UniformWeights", "norm": null},
                            "zeros": {"_target_": "BooleanNot", "masks": "weight"}}},
    "hidden": {"node_builder": {"_target_": "TriNodes", "resolution": 1}}},
  "edges": [
    {"source_name": "data", "target_name": "hidden",
     "edge_builders": [{"_target_": "KNNEdges", "num_nearest_neighbours": 2}],
     "attributes": {"edge_length": {"_target_": "EdgeLength", "norm": "unit-std"}}},
    {"source_name": "hidden", "target_name": "hidden", "edge_builders": [{"_target_": "MultiScaleEdges", "x_hops": 1}]}],
  "post_processors": []})";

const std::vector<Row>& rows()
{
    static const std::vector<Row> table{
        {"UnknownNodeBuilder",
         "/nodes/hidden/node_builder/_target_",
         "\"TriNode\"",
         {"TriNode", "did you mean", "TriNodes"}},
        {"HexNodesAreNotAvailable",
         "/nodes/hidden/node_builder",
         R"({"_target_": "anemoi.graphs.nodes.HexNodes", "resolution": 2})",
         {"HexNodes", "not available", "TriNodes", "gradwind import --graph"}},
        {"IconEdgesAreNotAvailable",
         "/edges/1/edge_builders/0",
         R"({"_target_": "ICONTopologicalProcessorEdges"})",
         {"ICONTopologicalProcessorEdges", "not available", "MultiScaleEdges"}},
        {"CutOutWithoutDataSet",
         "/nodes/hidden/attributes",
         R"({"inner": {"_target_": "CutOutMask"}})",
         {"nodes.hidden.attributes.inner", "AnemoiDatasetNodes", "hidden"}},
        {"UnknownNodeBuilderKey", "/nodes/hidden/node_builder/resolutoin", "3", {"resolutoin", "resolution"}},
        {"NoResolution", "/nodes/hidden/node_builder/resolution", "null", {"nodes.hidden.node_builder.resolution"}},
        {"ResolutionTooFine", "/nodes/hidden/node_builder/resolution", "40", {"0 to 10", "40"}},
        {"UnknownGrid",
         "/nodes/hidden/node_builder",
         R"({"_target_": "ReducedGaussianGridNodes", "grid": "x32"})",
         {"x32", "o96"}},
        {"NoDataSet",
         "/nodes/hidden/node_builder",
         R"({"_target_": "AnemoiDatasetNodes", "dataset": "a.zarr"})",
         {"no data set is at hand"}},
        {"NoSuchText",
         "/nodes/hidden/node_builder",
         R"({"_target_": "TextNodes", "dataset": "/no/such/file"})",
         {"cannot read", "/no/such/file"}},
        {"NoSuchNpz",
         "/nodes/hidden/node_builder",
         R"({"_target_": "NPZFileNodes", "npz_file": "/no/such.npz"})",
         {"cannot read", "/no/such.npz"}},
        {"LatitudeOutOfRange", "/nodes/data/node_builder/latitudes", "[10, 20, 91, 40, 50]", {"point 2", "91"}},
        {"UnequalCoordinates", "/nodes/data/node_builder/latitudes", "[10, 20]", {"2 latitudes", "5 longitudes"}},
        {"NoPoints",
         "/nodes/data/node_builder",
         R"({"_target_": "LatLonNodes", "latitudes": [], "longitudes": []})",
         {"has no points"}},
        {"UnknownNodeAttribute",
         "/nodes/data/attributes/weight/_target_",
         "\"UniformWeight\"",
         {"UniformWeight", "did you mean"}},
        {"UnknownNorm", "/nodes/data/attributes/weight/norm", "\"unit-maximum\"", {"unit-maximum", "unit-max"}},
        {"ZeroNorm", "/nodes/data/attributes/zeros/norm", "\"l1\"", {"divides by zero", "l1"}},
        {"MissingMask", "/nodes/data/attributes/zeros/masks", "\"wieght\"", {"wieght", "weight"}},
        {"UnknownSource", "/edges/0/source_name", "\"dat\"", {"dat", "did you mean", "data"}},
        {"UnknownEdgeBuilder", "/edges/0/edge_builders/0/_target_", "\"KNNEdge\"", {"KNNEdge", "KNNEdges"}},
        {"UnknownEdgeKey",
         "/edges/0/edge_builders/0/num_nearest_neighbors",
         "3",
         {"num_nearest_neighbors", "num_nearest_neighbours"}},
        {"NoEdgeBuilder", "/edges/0/edge_builders", "[]", {"names no edge builder"}},
        {"MoreNeighboursThanNodes", "/edges/0/edge_builders/0/num_nearest_neighbours", "6", {"between 1 and 5", "6"}},
        {"NoNeighbours", "/edges/0/edge_builders/0/num_nearest_neighbours", "0", {"between 1 and 5"}},
        {"MissingMaskOfEdges", "/edges/0/edge_builders/0/source_mask_attr_name", "\"cutout\"", {"cutout", "weight"}},
        {"EmptyMask", "/edges/0/edge_builders/0/source_mask_attr_name", "\"zeros\"", {"selects none", "data"}},
        {"NoRadius", "/edges/0/edge_builders/0", R"({"_target_": "CutOffEdges"})", {"exactly one of", "cutoff_factor"}},
        {"TwoRadii",
         "/edges/0/edge_builders/0",
         R"({"_target_": "CutOffEdges", "cutoff_factor": 1, "cutoff_distance_km": 1})",
         {"exactly one of"}},
        {"NegativeRadius",
         "/edges/0/edge_builders/0",
         R"({"_target_": "CutOffEdges", "cutoff_factor": -1})",
         {"positive", "-1"}},
        {"MeshBetweenTwoSets",
         "/edges/0/edge_builders/0",
         R"({"_target_": "MultiScaleEdges"})",
         {"joins a node set with itself"}},
        {"NoMesh",
         "/edges/1",
         R"({"source_name": "data", "target_name": "data", "edge_builders": [{"_target_": "MultiScaleEdges"}]})",
         {"TriNodes"}},
        {"NoHealpix", "/edges/1/edge_builders/0/_target_", "\"HEALPixMultiScaleEdges\"", {}},
        {"LevelTooFine", "/edges/1/edge_builders/0/scale_resolutions", "2", {"level 2", "resolution 1"}},
        {"NoHops", "/edges/1/edge_builders/0/x_hops", "0", {"at least 1"}},
        {"EdgesTwice",
         "/edges/1",
         R"({"source_name": "data", "target_name": "hidden", "edge_builders": [{"_target_": "KNNEdges", "num_nearest_neighbours": 1}]})",
         {"listed twice"}},
        {"UnknownEdgeAttribute",
         "/edges/0/attributes/edge_length/_target_",
         "\"EdgeLenght\"",
         {"EdgeLenght", "EdgeLength"}},
        {"UnknownNodeAttributeOfEdges",
         "/edges/0/attributes/edge_length",
         R"({"_target_": "AttributeFromSourceNode", "node_attr_name": "x"})",
         {"no attribute `x`"}},
        {"UnknownProcessor",
         "/post_processors/0",
         R"({"_target_": "RemoveNodes"})",
         {"RemoveNodes", "RemoveUnconnectedNodes"}},
        {"EmptyArea",
         "/post_processors/0",
         R"({"_target_": "SubsetNodesInArea", "nodes_name": "data", "area": [-50, 0, -60, 10]})",
         {"holds none of the 5"}},
        {"SelfEdgesOfTwoSets",
         "/post_processors/0",
         R"({"_target_": "RemoveSelfEdges", "source_name": "data", "target_name": "hidden"})",
         {"joined with itself"}},
        {"ProcessorWithoutEdges",
         "/post_processors/0",
         R"({"_target_": "RemoveSelfEdges", "source_name": "data", "target_name": "data"})",
         {"no edges from"}},
        {"EmptyLimitedArea",
         "/nodes/hidden/node_builder",
         R"({"_target_": "LimitedAreaTriNodes", "resolution": 0, "reference_node_name": "data", "margin_radius_km": 1})",
         {"finer resolution", "margin_radius_km"}},
        {"UnknownReference",
         "/nodes/hidden/node_builder",
         R"({"_target_": "LimitedAreaTriNodes", "resolution": 1, "reference_node_name": "dta"})",
         {"dta", "data"}},
        {"StretchedTheWrongWay",
         "/nodes/hidden/node_builder",
         R"({"_target_": "StretchedTriNodes", "global_resolution": 3, "lam_resolution": 2, "reference_node_name": "data"})",
         {"coarser"}},
        {"NoNodes", "/nodes", "{}", {"names no node set"}},
    };
    return table;
}

} // namespace

class Refusal : public testing::TestWithParam<Row>
{
};

TEST(GraphSection, OfTheTableWorks)
{
    EXPECT_NO_THROW((void)build_graph(Config::from_json(json::parse(kSection), "graph.yaml"), {}));
}

TEST_P(Refusal, SaysWhatIsWrong)
{
    json section = json::parse(kSection);
    section[json::json_pointer(GetParam().pointer)] = json::parse(GetParam().value);
    try {
        (void)build_graph(Config::from_json(section, "graph.yaml"), {});
        FAIL() << "no error";
    } catch (const Error& error) {
        const std::string message = error.what();
        EXPECT_NE(error.code(), ExitCode::Internal) << message;
        for (const char* word : GetParam().words)
            EXPECT_NE(message.find(word), std::string::npos) << "expected \"" << word << "\" in: " << message;
    }
}

INSTANTIATE_TEST_SUITE_P(Rows, Refusal, testing::ValuesIn(rows()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(GraphInputs, NotANumberInCoordinatesOfADataSetIsRefused)
{
    json section =
        json::parse(R"({"nodes": {"data": {"node_builder": {"_target_": "AnemoiDatasetNodes", "dataset": "a"}}}})");
    GraphInputs inputs;
    inputs.dataset_coordinates = [](const Config&) {
        return grid::Coordinates{{0, std::numeric_limits<double>::quiet_NaN()}, {0, 1}};
    };
    EXPECT_THROW((void)build_graph(Config::from_json(section, "graph.yaml"), inputs), DataError);
}

} // namespace gradwind::graph
