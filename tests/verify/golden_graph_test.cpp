// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Graphs of the original packages, built again (golden graphs-* cases).
#include "gradwind/core/config_loader.h"
#include "gradwind/data/open_dataset.h"
#include "gradwind/graph/build.h"
#include "gradwind/verify/graph_compare.h"
#include "gradwind/verify/report.h"

#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace gradwind::verify
{

namespace
{

std::filesystem::path golden()
{
    const char* folder = std::getenv("GRADWIND_GOLDEN");
    return folder != nullptr ? std::filesystem::path(folder)
                             : std::filesystem::path(GRADWIND_SOURCE_DIR) / "../shared/golden";
}

void expect_passed(const CaseReport& report)
{
    for (const Check& check : report.checks)
        EXPECT_TRUE(check.passed()) << check.name << ": error " << check.error << ", tolerance " << check.tolerance;
    for (const std::string& part : report.not_run)
        ADD_FAILURE() << "not run: " << part;
    EXPECT_FALSE(report.checks.empty());
}

} // namespace

class GoldenGraphCase : public testing::TestWithParam<const char*>
{
};

TEST_P(GoldenGraphCase, IsBuiltAgain)
{
    const std::filesystem::path folder = golden() / GetParam();
    if (!std::filesystem::exists(folder / "case.json"))
        GTEST_SKIP() << "no reference vectors at " << folder << "; set GRADWIND_GOLDEN";
    std::ifstream in(folder / "case.json");
    expect_passed(verify_graph_case(folder, nlohmann::json::parse(in)));
}

INSTANTIATE_TEST_SUITE_P(Cases, GoldenGraphCase,
                         testing::Values("graphs-tri2", "graphs-tri3", "graphs-edge-builders", "graphs-lam",
                                         "graphs-postprocessors", "graphs-healpix", "graphs-stretched"));

// The graph of a whole run, from the user's configuration and data set.
TEST(GoldenGraph, OfTheUkRunIsBuiltFromItsConfiguration)
{
    const std::filesystem::path folder = golden() / "run-uk-gnn";
    const std::filesystem::path store = golden() / "../data/stores/era5-uk-2t.zarr";
    if (!std::filesystem::exists(folder / "case.json") || !std::filesystem::exists(store))
        GTEST_SKIP() << "no reference vectors at " << folder << "; set GRADWIND_GOLDEN";
    const Config config = load_config({folder / "uk.yaml", {"system.input.dataset=" + store.string()}});
    graph::GraphInputs inputs;
    inputs.dataset_coordinates = [](const Config& option) {
        const auto dataset = data::open_dataset(option);
        return grid::Coordinates{dataset->latitudes(), dataset->longitudes()};
    };
    CaseReport report;
    const graph::Graph built = graph::build_graph(config.at("graph"), inputs);
    EXPECT_EQ(built.node_set("hidden").size(), 299);
    EXPECT_EQ(built.edge_set("hidden", "hidden")->size(), 2150);
    compare_graphs(built, graph::read_graph(folder / "graph.safetensors"), report);
    expect_passed(report);
}

} // namespace gradwind::verify
