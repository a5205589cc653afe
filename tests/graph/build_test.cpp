// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/graph/build.h"

#include "gradwind/core/error.h"
#include "gradwind/core/safetensors.h"
#include "gradwind/graph/statistics.h"
#include "gradwind/parallel/process.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <gtest/gtest.h>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <sys/wait.h>
#include <unistd.h>

namespace gradwind::graph
{

namespace
{

using nlohmann::json;

json section(int64_t resolution)
{
    json result = json::parse(R"({
      "nodes": {
        "data": {"node_builder": {"_target_": "anemoi.graphs.nodes.ReducedGaussianGridNodes", "grid": "o8"},
                 "attributes": {"area_weight": {"_target_": "SphericalAreaWeights", "norm": "unit-max"}}},
        "hidden": {"node_builder": {"_target_": "TriNodes"}}},
      "edges": [
        {"source_name": "data", "target_name": "hidden",
         "edge_builders": [{"_target_": "CutOffEdges", "cutoff_factor": 0.6}],
         "attributes": {"edge_length": {"_target_": "EdgeLength", "norm": "unit-std"},
                        "edge_dirs": {"_target_": "EdgeDirection", "norm": "unit-std"}}},
        {"source_name": "hidden", "target_name": "hidden",
         "edge_builders": [{"_target_": "MultiScaleEdges", "x_hops": 1}],
         "attributes": {"edge_length": {"_target_": "EdgeLength", "norm": null},
                        "edge_dirs": {"_target_": "EdgeDirection", "norm": null}}},
        {"source_name": "hidden", "target_name": "data",
         "edge_builders": [{"_target_": "KNNEdges", "num_nearest_neighbours": 3}]}]})");
    result["nodes"]["hidden"]["node_builder"]["resolution"] = resolution;
    result["edges"][1]["edge_builders"][0]["scale_resolutions"] = resolution;
    return result;
}

Graph build(const json& description, const GraphInputs& inputs = {})
{
    return build_graph(Config::from_json(description, "test"), inputs);
}

/// Mean and sample deviation.
std::pair<double, double> moments(const std::vector<float>& values)
{
    const double mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
    double squares = 0;
    for (const float value : values)
        squares += (value - mean) * (value - mean);
    return {mean, std::sqrt(squares / static_cast<double>(values.size() - 1))};
}

} // namespace

TEST(BuildGraph, MultiScaleEdgesHaveTheKnownLengthsAndDirections)
{
    struct Row {
        int64_t resolution, n_edges;
        double std_length, mean_length, std_dirs;
    };
    for (const Row& row :
         {Row{1, 240, 0.03745020, 0.5909466, 0.7078445}, Row{2, 1200, 0.1187266, 0.3585697, 0.7072542},
          Row{3, 5040, 0.1060866, 0.2003258, 0.7071419}, Row{4, 20400, 0.0754722, 0.1063523, 0.7071155},
          Row{5, 81840, 0.0480057, 0.0548643, 0.7071089}}) { // spec §16.1
        const Graph graph = build(section(row.resolution));
        const EdgeSet* edges = graph.edge_set("hidden", "hidden");
        ASSERT_NE(edges, nullptr);
        EXPECT_EQ(edges->size(), row.n_edges);
        const auto [mean, std] = moments(edges->attributes.at("edge_length").values);
        EXPECT_NEAR(mean, row.mean_length, 2e-7);
        EXPECT_NEAR(std, row.std_length, 2e-7);
        EXPECT_NEAR(moments(edges->attributes.at("edge_dirs").values).second, row.std_dirs, 2e-6);
    }
}

TEST(BuildGraph, NearestNeighboursOfATargetAreThreeAndUnitStdHasDeviationOne)
{
    const Graph graph = build(section(2));
    const EdgeSet* decoder = graph.edge_set("hidden", "data");
    ASSERT_NE(decoder, nullptr);
    const GraphSummary summary = summarise(graph);
    EXPECT_EQ(summary.edges[2].edges_per_target.min, 3);
    EXPECT_EQ(summary.edges[2].edges_per_target.max, 3);
    EXPECT_NEAR(moments(graph.edge_set("data", "hidden")->attributes.at("edge_length").values).second, 1, 1e-6);
    EXPECT_EQ(graph.edge_set("data", "data"), nullptr);
}

TEST(BuildGraph, DirectionsHaveLengthOneAndReverseEdgesEqualLengths)
{
    const Graph graph = build(section(3));
    const EdgeSet& edges = *graph.edge_set("hidden", "hidden");
    const std::vector<float>& lengths = edges.attributes.at("edge_length").values;
    const std::vector<float>& dirs = edges.attributes.at("edge_dirs").values;
    std::map<std::pair<int32_t, int32_t>, float> length_of;
    for (size_t e = 0; e < edges.src.size(); ++e) {
        length_of[{edges.src[e], edges.dst[e]}] = lengths[e];
        EXPECT_NEAR(std::hypot(dirs[2 * e], dirs[2 * e + 1]), 1, 1e-6);
    }
    EXPECT_EQ(length_of.size(), edges.src.size()); // no edge twice
    for (const auto& [ends, length] : length_of)
        EXPECT_EQ(length_of.at({ends.second, ends.first}), length);
}

TEST(BuildGraph, GivenNodesAreTakenAsTheyAre)
{
    GraphInputs inputs;
    inputs.given_nodes["data"] = {"data", {0.1f, 0.2f, 0.3f, -0.2f}, {0.0f, 1.0f, 2.0f, 3.0f}, {}};
    const Graph graph = build(section(1), inputs);
    EXPECT_EQ(graph.node_set("data").size(), 4);
    EXPECT_TRUE(graph.node_set("data").attributes.contains("area_weight"));
}

TEST(SortByDestination, IsStableAndAPermutation)
{
    const EdgeSet edges{"a", "b", {5, 4, 3, 2, 1, 0}, {2, 0, 2, 1, 0, 2}, {}};
    const SortedEdges sorted = sort_by_destination(edges);
    EXPECT_EQ(sorted.dst, (std::vector<int32_t>{0, 0, 1, 2, 2, 2}));
    EXPECT_EQ(sorted.src, (std::vector<int32_t>{4, 1, 2, 5, 3, 0}));
    EXPECT_EQ(sorted.permutation, (std::vector<int32_t>{1, 4, 3, 0, 2, 5}));
    EXPECT_TRUE(sort_by_destination({}).src.empty());
}

TEST(GraphFile, KeepsOrderAndValues)
{
    const parallel::PrivateFolder folder;
    const Graph graph = build(section(2));
    write_graph(graph, folder.path() / "graph.safetensors");
    const Graph read = read_graph(folder.path() / "graph.safetensors");
    ASSERT_EQ(read.nodes.size(), graph.nodes.size());
    ASSERT_EQ(read.edges.size(), graph.edges.size());
    for (const NodeSet& nodes : graph.nodes) {
        EXPECT_EQ(read.node_set(nodes.name).lat_rad, nodes.lat_rad);
        EXPECT_EQ(read.node_set(nodes.name).lon_rad, nodes.lon_rad);
        for (const auto& [name, attribute] : nodes.attributes)
            EXPECT_EQ(read.node_set(nodes.name).attributes.at(name).values, attribute.values);
    }
    for (const EdgeSet& edges : graph.edges) {
        const EdgeSet* same = read.edge_set(edges.source, edges.target);
        ASSERT_NE(same, nullptr);
        EXPECT_EQ(same->src, edges.src);
        EXPECT_EQ(same->dst, edges.dst);
        for (const auto& [name, attribute] : edges.attributes)
            EXPECT_EQ(same->attributes.at(name).values, attribute.values);
    }
}

TEST(GraphFile, RefusesEdgesToNodesThatDoNotExist)
{
    const parallel::PrivateFolder folder;
    const std::vector<float> latlon(6, 0.1f);
    const std::vector<int64_t> index{0, 2, 1, 3};
    const std::vector<TensorBytes> tensors{
        {"nodes.a.latlon", DType::F32, {3, 2}, std::as_bytes(std::span(latlon))},
        {"edges.a.a.edge_index", DType::I64, {2, 2}, std::as_bytes(std::span(index))}};
    const auto path = folder.path() / "bad.safetensors";
    write_safetensors(path, tensors);
    EXPECT_THROW((void)read_graph(path), DataError);
    ReadGraphOptions options;
    options.invalid_edges = ReadGraphOptions::InvalidEdges::Drop;
    EXPECT_EQ(read_graph(path, options).edges.at(0).size(), 1);
}

TEST(GraphCache, BuildsOnceAndReplacesDamagedFiles)
{
    const parallel::PrivateFolder folder;
    const Config config = Config::from_json(section(1), "test");
    const std::string key = graph_key(config, {});
    EXPECT_EQ(key.size(), 64u);
    EXPECT_NE(key, graph_key(Config::from_json(section(2), "test"), {}));
    const std::filesystem::path file = folder.path() / ("graph-" + key + ".safetensors");
    const pid_t child = fork(); // another process at the same time
    if (child == 0) {
        // Nothing may leave this block: the other tests and the folder belong to the parent.
        try {
            _exit(load_or_build(config, {}, folder.path()).edges.size() == 3 ? 0 : 1);
        } catch (const std::exception& error) {
            std::fprintf(stderr, "child: %s\n", error.what());
            _exit(2);
        }
    }
    const Graph built = load_or_build(config, {}, folder.path());
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    EXPECT_TRUE(std::filesystem::exists(file));
    EXPECT_EQ(load_or_build(config, {}, folder.path()).edges.at(0).src, built.edges.at(0).src);
    std::filesystem::resize_file(file, 100);
    EXPECT_EQ(load_or_build(config, {}, folder.path()).edges.at(0).src, built.edges.at(0).src);
    EXPECT_GT(std::filesystem::file_size(file), 100u);
}

TEST(GraphKey, DependsOnTheCoordinatesOfTheDataSet)
{
    json description = section(1);
    description["nodes"]["data"]["node_builder"] = {{"_target_", "AnemoiDatasetNodes"}, {"dataset", "some.zarr"}};
    const Config config = Config::from_json(description, "test");
    const auto key = [&](double shift) {
        GraphInputs inputs;
        inputs.dataset_coordinates = [shift](const Config&) { return grid::Coordinates{{10, 20, shift}, {0, 1, 2}}; };
        return graph_key(config, inputs);
    };
    EXPECT_EQ(key(1), key(1));
    EXPECT_NE(key(1), key(2));
}

TEST(DatasetAttributes, FollowTheGridsAndTheFirstDateOfTheDataSet)
{
    GraphInputs inputs;
    inputs.dataset_coordinates = [](const Config&) { return grid::Coordinates{{10, 20, 30, 40}, {0, 1, 2, 3}}; };
    inputs.dataset_grids = [](const Config&) { return std::vector<int64_t>{1, 2, 1}; };
    inputs.dataset_values = [](const Config&, const std::string& variable) {
        EXPECT_EQ(variable, "lsm");
        return std::vector<float>{0, 0.5F, std::numeric_limits<float>::quiet_NaN(), 2};
    };
    const auto described = json::parse(R"({"nodes": {"data": {
        "node_builder": {"_target_": "AnemoiDatasetNodes", "dataset": "a.zarr"},
        "attributes": {
            "inner": {"_target_": "CutOutMask"},
            "ends": {"_target_": "GridsMask", "grids": [0, 2]},
            "middle": {"_target_": "GridsMask", "grids": 1},
            "touching": {"_target_": "BooleanAndMask", "masks": ["ends", {"_target_": "CutOutMask"}]},
            "known": {"_target_": "NonmissingAnemoiDatasetVariable", "variable": "lsm"},
            "land": {"_target_": "NonzeroAnemoiDatasetVariable", "variable": "lsm"}}}}})");
    const auto config = Config::from_json(described, "graph.yaml");
    const auto graph = build_graph(config, inputs);
    const auto values = [&](const char* name) { return graph.node_set("data").attributes.at(name).values; };
    using Values = std::vector<float>;
    EXPECT_EQ(values("inner"), (Values{1, 0, 0, 0}));
    EXPECT_EQ(values("ends"), (Values{1, 0, 0, 1}));
    EXPECT_EQ(values("middle"), (Values{0, 1, 1, 0}));
    EXPECT_EQ(values("touching"), (Values{1, 0, 0, 0}));
    EXPECT_EQ(values("known"), (Values{1, 1, 0, 1}));
    EXPECT_EQ(values("land"), (Values{0, 1, 1, 1}));

    const auto key = graph_key(config, inputs);
    inputs.dataset_grids = [](const Config&) { return std::vector<int64_t>{2, 1, 1}; };
    EXPECT_NE(graph_key(config, inputs), key) << "another cut is another graph";
    auto beyond = described;
    beyond["nodes"]["data"]["attributes"]["ends"]["grids"] = {0, 3};
    EXPECT_THROW((void)build_graph(Config::from_json(beyond, "graph.yaml"), inputs), ConfigError);
}

} // namespace gradwind::graph
