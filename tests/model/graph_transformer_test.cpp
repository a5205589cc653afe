// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What must hold for a network of graph transformer layers whatever its weights are.
#include "tests/support/network_properties.h"

#include <ATen/Parallel.h>

namespace gradwind::model
{
namespace
{

using nlohmann::json;
using test::expect_close;
using test::expect_equal;
using test::input;
using test::run;
using test::small_graph;
using test::small_network;

/// The small network with graph transformer layers; `changes` go to encoder, processor and decoder.
json section(const json& changes = json::object())
{
    auto result = test::small_section();
    for (const auto* part : {"/encoders/0/mapper", "/decoders/0/mapper", "/processor"}) {
        auto& own = result[json::json_pointer(part)];
        auto target = own["_target_"].get<std::string>();
        own["_target_"] = target.replace(target.find("GNN"), 3, "GraphTransformer");
        own["num_heads"] = 2;
        own["mlp_hidden_ratio"] = 2;
        own.update(changes);
    }
    return result;
}

json with_mapper_chunks(json whole, int chunks)
{
    whole["encoders"]["0"]["mapper"]["num_chunks"] = chunks;
    whole["decoders"]["0"]["mapper"]["num_chunks"] = chunks;
    return whole;
}

/// All that can be chosen, in few combinations.
const std::pair<const char*, json> kVariants[] = {
    {"plain", json::object()},
    {"normalised heads", {{"qk_norm", true}, {"edge_pre_mlp", true}}},
    {"wider attention", {{"attn_channels", 15}, {"num_heads", 5}, {"mlp_implementation", "swiglu"}}},
    {"one head", {{"num_heads", 1}, {"trainable_size", 0}, {"sub_graph_edge_attributes", {"edge_length"}}}},
};

TEST(GraphTransformer, GradientsAgreeWithFiniteDifferences)
{
    for (const auto& [name, changes] : kVariants)
        test::expect_finite_differences(*small_network(with_mapper_chunks(section(changes), 3), small_graph()), name);
}

TEST(GraphTransformer, RecomputationChangesNoBit)
{
    // Plain perceptrons keep little in any case; gated ones are computed again.
    for (const auto* kind : {"mlp", "swiglu"})
        for (const auto dtype : {at::kDouble, at::kFloat}) {
            const auto x = input(1, 1, dtype);
            const json kept = {{"mlp_implementation", kind}, {"gradient_checkpointing", false}};
            const json again = {{"mlp_implementation", kind}, {"gradient_checkpointing", true}};
            for (const int chunks : {1, 3}) {
                const auto expected =
                    run(*small_network(with_mapper_chunks(section(kept), chunks), small_graph(), dtype), x);
                for (const int groups : {1, 2, 4}) {
                    auto whole = with_mapper_chunks(section(again), chunks);
                    whole["processor"]["num_chunks"] = groups;
                    expect_equal(run(*small_network(whole, small_graph(), dtype), x), expected);
                }
            }
        }
}

TEST(GraphTransformer, ChunksOfDestinationsChangeOnlyRounding)
{
    // Without normalised keys the gradient of their bias is nothing but rounding.
    const auto parts = section({{"qk_norm", true}});
    const auto whole = run(*small_network(parts, small_graph()), input(2));
    for (const int chunks : {2, 3, 100})
        expect_close(run(*small_network(with_mapper_chunks(parts, chunks), small_graph()), input(2)), whole, 1e-12);
}

TEST(GraphTransformer, ThreadsChangeNoBit)
{
    const auto threads = at::get_num_threads();
    const auto with_threads = [&](int n) {
        at::set_num_threads(n);
        return run(*small_network(with_mapper_chunks(section(), 2), small_graph(), at::kFloat),
                   input(2, 2, at::kFloat));
    };
    const auto one = with_threads(1), three = with_threads(3);
    at::set_num_threads(threads);
    expect_equal(three, one);
}

TEST(GraphTransformer, SamplesAndMembersAreIndependent)
{
    const auto network = small_network(with_mapper_chunks(section({{"edge_pre_mlp", true}}), 3), small_graph());
    const auto x = input(2, 3);
    const auto all = network->forward(x);
    for (int64_t b = 0; b < 2; ++b)
        for (int64_t e = 0; e < 3; ++e) {
            const auto one = network->forward(x.narrow(0, b, 1).narrow(2, e, 1));
            EXPECT_LT((all.narrow(0, b, 1).narrow(2, e, 1) - one).abs().max().item<double>(), 1e-12);
        }
}

TEST(GraphTransformer, IsEquivariantToTheOrderOfNodes)
{
    auto whole = section({{"trainable_size", 0}});
    whole["node_trainable_parameters"] = {{"data", 0}, {"hidden", 0}};
    const std::vector<int64_t> data = {4, 0, 12, 7, 1, 9, 2, 11, 3, 5, 10, 8, 6}, hidden = {3, 6, 0, 5, 1, 2, 4};
    const auto index = at::tensor(data, at::kLong);
    const auto x = input();
    const auto y = small_network(whole, small_graph())->forward(x);
    const auto graph = test::permuted(test::permuted(small_graph(), "data", data), "hidden", hidden);
    const auto again = small_network(whole, graph)->forward(x.index_select(3, index));
    EXPECT_LT((y.index_select(3, index) - again).abs().max().item<double>(), 1e-12);
}

TEST(GraphTransformer, HiddenNodesOnlySeeTheirSources)
{
    // A data node without an edge to the hidden nodes changes nothing but itself: its own columns and the decoder.
    auto graph = small_graph();
    for (auto& id : graph.edges[0].src)
        id = id == 12 ? 0 : id;
    const auto network = small_network(section(), graph);
    auto x = input();
    const auto y = network->forward(x);
    x.select(3, 12).add_(1);
    const auto changed = (network->forward(x) - y).abs().amax({0, 1, 2, 4});
    EXPECT_GT(changed[12].item<double>(), 0);
    EXPECT_EQ(changed.narrow(0, 0, 12).max().item<double>(), 0);
}

TEST(GraphTransformer, DecodersTakeTheFeaturesThatAreListed)
{
    auto whole = section();
    whole["decoders"]["0"]["target_node_features"] = {"trainable_parameters", "forcings", "coordinates"};
    const auto network = small_network(whole, small_graph());
    EXPECT_EQ(network->named_parameters()["decoder.0.emb_nodes_dst.weight"].size(1), 3 + 2 * 1 + 4);
    test::expect_finite_differences(*network, "listed features");
}

TEST(GraphTransformer, MixesWithGraphNetworks)
{
    auto whole = section();
    whole["processor"]["_target_"] = "GNNProcessor";
    test::expect_finite_differences(*small_network(whole, small_graph()), "graph network as processor");
    auto encoder = section();
    encoder["encoders"]["0"]["mapper"]["_target_"] = "GNNForwardMapper";
    test::expect_finite_differences(*small_network(encoder, small_graph()), "graph network as encoder");
}

} // namespace
} // namespace gradwind::model
