// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/cli/graph_command.h"

#include "gradwind/core/error.h"

#include <fstream>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sstream>
#include <unistd.h>

namespace gradwind::cli
{

namespace
{

class GraphCommandTest : public testing::Test
{
protected:
    GraphCommandTest()
    {
        std::filesystem::create_directories(folder_);
        std::ofstream(folder_ / "config.yaml") << R"(
graph:
  nodes:
    data:
      node_builder: {_target_: anemoi.graphs.nodes.ReducedGaussianGridNodes, grid: o8}
    hidden:
      node_builder: {_target_: anemoi.graphs.nodes.TriNodes, resolution: 2}
  edges:
  - source_name: data
    target_name: hidden
    edge_builders:
    - {_target_: anemoi.graphs.edges.KNNEdges, num_nearest_neighbours: 3}
    attributes:
      edge_length: {_target_: anemoi.graphs.edges.attributes.EdgeLength, norm: unit-max}
)";
    }
    ~GraphCommandTest() override
    {
        std::error_code error;
        std::filesystem::remove_all(folder_, error);
    }
    std::string output_of(const GraphCommand& command)
    {
        std::ostringstream out;
        EXPECT_EQ(run(command, out), 0);
        return out.str();
    }

    std::filesystem::path folder_ =
        std::filesystem::temp_directory_path() / ("gradwind-graph-command-" + std::to_string(getpid()));
};

} // namespace

TEST_F(GraphCommandTest, CutShowsHaloAndImbalanceOfBothPartitions)
{
    GraphCommand create;
    create.action = GraphCommand::Action::Create;
    create.config_or_graph = folder_ / "config.yaml";
    create.output = folder_ / "graph.safetensors";
    (void)output_of(create);

    GraphCommand cut;
    cut.action = GraphCommand::Action::Cut;
    cut.config_or_graph = create.output;
    cut.cut = {.parts = {2, 3}, .channels = 10, .element_bytes = 4, .even = "hidden"};
    EXPECT_NE(output_of(cut).find("  3 bisection  data->hidden"), std::string::npos) << output_of(cut);
    cut.format = GraphCommand::Format::Json;
    const auto rows = nlohmann::json::parse(output_of(cut));
    ASSERT_EQ(rows.size(), 4u);
    EXPECT_EQ(rows[0]["partition"], "contiguous");
    EXPECT_EQ(rows[0]["all_gather_bytes"], 272 * 40);
    EXPECT_EQ(rows[0]["source_imbalance"], 1.0);
    EXPECT_EQ(rows[1]["target_imbalance"], 1.0) << "162 hidden nodes are cut evenly";
    for (const auto& row : rows) {
        EXPECT_GT(row["layer_bytes"], 0);
        EXPECT_LT(row["layer_bytes"], row["all_gather_bytes"]);
    }
    cut.cut.even = "nowhere";
    EXPECT_THROW((void)output_of(cut), ConfigError);
}

TEST_F(GraphCommandTest, CreatesWhatItInspects)
{
    GraphCommand create;
    create.action = GraphCommand::Action::Create;
    create.config_or_graph = folder_ / "config.yaml";
    create.output = folder_ / "graph.safetensors";
    create.overrides = {"graph.nodes.hidden.node_builder.resolution=1"};
    EXPECT_NE(output_of(create).find("in all, peak memory"), std::string::npos);

    GraphCommand inspect;
    inspect.config_or_graph = create.output;
    EXPECT_NE(output_of(inspect).find("nodes hidden: 42, 0 without any edge"), std::string::npos);
    inspect.format = GraphCommand::Format::Json;
    const auto summary = nlohmann::json::parse(output_of(inspect));
    EXPECT_EQ(summary["nodes"][0]["name"], "data");
    EXPECT_EQ(summary["nodes"][0]["count"], 544);
    EXPECT_EQ(summary["edges"][0]["count"], 126);
    EXPECT_EQ(summary["edges"][0]["edges_per_target"]["max"], 3);
    EXPECT_EQ(summary["edges"][0]["attributes"]["edge_length"]["values"]["max"], 1);
    EXPECT_EQ(summary["nodes"][0]["unconnected"], summary["edges"][0]["sources_without_edges"]);
}

TEST_F(GraphCommandTest, SaysWhatIsMissing)
{
    GraphCommand create;
    create.action = GraphCommand::Action::Create;
    create.config_or_graph = folder_ / "config.yaml";
    std::ostringstream out;
    EXPECT_THROW(run(create, out), ConfigError); // no output
    GraphCommand inspect;
    inspect.config_or_graph = folder_ / "none.safetensors";
    EXPECT_THROW(run(inspect, out), DataError);
}

} // namespace gradwind::cli
