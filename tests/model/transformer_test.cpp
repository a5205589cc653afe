// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Transformers and point-wise networks: what must hold whatever their weights are.
#include "gradwind/core/error.h"
#include "gradwind/model/transformer.h"
#include "tests/support/gradients.h"
#include "tests/support/small_network.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

namespace gradwind::model
{
namespace
{

using test::expect_true_gradients;
using test::small_graph;
using test::small_network;
using test::weighted_sum;
using Json = nlohmann::json;

/// Transformer mappers around a Transformer with a window, on a graph without edges.
Json transformer_section()
{
    auto section = test::small_section();
    const Json part = {{"num_heads", 2}, {"mlp_hidden_ratio", 2}, {"gradient_checkpointing", false}};
    auto encoder = part, decoder = part, processor = part;
    encoder["_target_"] = "anemoi.models.layers.mapper.TransformerForwardMapper";
    decoder["_target_"] = "anemoi.models.layers.mapper.TransformerBackwardMapper";
    processor["_target_"] = "anemoi.models.layers.processor.TransformerProcessor";
    processor["num_layers"] = 4;
    processor["window_size"] = 2;
    processor["qk_norm"] = true;
    section["encoders"]["0"]["mapper"] = encoder;
    section["decoders"]["0"]["mapper"] = decoder;
    section["processor"] = processor;
    return section;
}

Json pointwise_section()
{
    auto section = test::small_section();
    section["model"] = {{"hidden_nodes_name", "data"}};
    section["encoders"]["0"]["mapper"] = {{"_target_", "PointWiseForwardMapper"}};
    section["decoders"]["0"]["mapper"] = {{"_target_", "PointWiseBackwardMapper"}};
    section["processor"] = {{"_target_", "PointWiseMLPProcessor"},
                            {"num_layers", 4},
                            {"mlp_hidden_ratio", 3},
                            {"gradient_checkpointing", false}};
    return section;
}

graph::Graph graph_without_edges()
{
    auto graph = small_graph();
    graph.edges.clear();
    return graph;
}

at::Tensor input(int64_t batch = 1, int64_t members = 1, at::ScalarType dtype = at::kDouble)
{
    at::manual_seed(3);
    return at::randn({batch, 2, members, 13, 3}, dtype);
}

std::vector<at::Tensor> run(ForecastModel& network, const at::Tensor& x)
{
    network.zero_grad();
    const auto leaf = x.detach().clone().requires_grad_(true);
    const auto y = network.forward(leaf);
    weighted_sum(y).backward();
    std::vector<at::Tensor> out = {y.detach(), leaf.grad()};
    for (const auto& parameter : network.parameters())
        out.push_back(parameter.grad().defined() ? parameter.grad().clone() : at::Tensor());
    return out;
}

void expect_equal(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b)
{
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) {
        ASSERT_EQ(a[i].defined(), b[i].defined()) << "tensor " << i;
        if (a[i].defined()) {
            EXPECT_TRUE(at::equal(a[i], b[i])) << "tensor " << i;
        }
    }
}

TEST(Transformer, GradientsAgreeWithFiniteDifferences)
{
    for (const auto& section : {transformer_section(), pointwise_section()}) {
        const auto network = small_network(section, graph_without_edges());
        const auto x = input(1, 2);
        std::vector<at::Tensor> used;
        (void)run(*network, x);
        for (const auto& parameter : network->parameters())
            if (parameter.grad().defined())
                used.push_back(parameter);
        EXPECT_GT(used.size(), 10u);
        expect_true_gradients([&] { return weighted_sum(network->forward(x)); }, used, 1e-6);
    }
}

TEST(Transformer, OnlyTheInheritedNormsOfMappersHaveNoGradient)
{
    const auto network = small_network(transformer_section(), graph_without_edges());
    (void)run(*network, input());
    for (const auto& item : network->named_parameters()) {
        const auto& name = item.key();
        const bool inherited =
            !name.starts_with("processor") && (name.find("layer_norm_attention.") != std::string::npos ||
                                               name.find("layer_norm_mlp.") != std::string::npos);
        EXPECT_EQ(item.value().grad().defined(), !inherited) << name;
    }
}

TEST(Transformer, RecomputationAndChunksChangeNoBit)
{
    for (const auto& base : {transformer_section(), pointwise_section()})
        for (const auto dtype : {at::kDouble, at::kFloat}) {
            const auto x = input(1, 2, dtype);
            const auto kept = run(*small_network(base, graph_without_edges(), dtype), x);
            for (const int chunks : {1, 2, 4}) {
                auto section = base;
                section["processor"]["num_chunks"] = chunks;
                for (const auto* part : {"/encoders/0/mapper", "/decoders/0/mapper", "/processor"})
                    section[Json::json_pointer(part)]["gradient_checkpointing"] = true;
                expect_equal(run(*small_network(section, graph_without_edges(), dtype), x), kept);
            }
        }
}

TEST(Transformer, ThreadsChangeNoBit)
{
    const auto threads = at::get_num_threads();
    at::set_num_threads(1);
    const auto one = run(*small_network(transformer_section(), graph_without_edges()), input(2, 2));
    at::set_num_threads(3);
    const auto three = run(*small_network(transformer_section(), graph_without_edges()), input(2, 2));
    at::set_num_threads(threads);
    expect_equal(three, one);
}

TEST(Transformer, SamplesAndMembersAreIndependent)
{
    for (const auto& section : {transformer_section(), pointwise_section()}) {
        const auto network = small_network(section, graph_without_edges());
        const auto x = input(2, 3);
        const auto all = network->forward(x);
        for (int64_t b = 0; b < 2; ++b)
            for (int64_t e = 0; e < 3; ++e) {
                const auto one = network->forward(x.narrow(0, b, 1).narrow(2, e, 1));
                EXPECT_LT((all.narrow(0, b, 1).narrow(2, e, 1) - one).abs().max().item<double>(), 1e-12);
            }
    }
}

TEST(Transformer, WithoutAWindowTheOrderOfDataNodesIsNothing)
{
    auto section = transformer_section();
    section["node_trainable_parameters"] = {{"data", 0}, {"hidden", 2}};
    const std::vector<int64_t> order = {4, 0, 12, 7, 1, 9, 2, 11, 3, 5, 10, 8, 6};
    auto permuted = graph_without_edges();
    for (size_t i = 0; i < order.size(); ++i) {
        permuted.nodes[0].lat_rad[i] = small_graph().nodes[0].lat_rad[size_t(order[i])];
        permuted.nodes[0].lon_rad[i] = small_graph().nodes[0].lon_rad[size_t(order[i])];
    }
    const auto index = at::tensor(order, at::kLong);
    const auto y = small_network(section, graph_without_edges())->forward(input());
    const auto again = small_network(section, permuted)->forward(input().index_select(3, index));
    EXPECT_LT((y.index_select(3, index) - again).abs().max().item<double>(), 1e-12);
}

TEST(Transformer, AWindowLimitsWhatANodeSees)
{
    TransformerOptions options;
    options.channels = options.attention_channels = 4;
    options.mlp_hidden = 8;
    options.window = 2;
    TransformerProcessor processor(options, 1);
    processor.to(at::kDouble);
    test::randomise(processor);
    const auto x = at::randn({9, 4}, at::kDouble).requires_grad_(true);
    processor.forward(x, {}, {}).select(0, 4).sum().backward();
    const auto seen = x.grad().abs().sum(1) > 0;
    EXPECT_TRUE(at::equal(seen, (at::arange(9) - 4).abs() <= 2)) << seen;
}

TEST(Transformer, TheConditionReachesEveryNorm)
{
    TransformerOptions options;
    options.channels = options.attention_channels = 4;
    options.mlp_hidden = 8;
    options.num_chunks = 2;
    options.kernels.condition_width = 3;
    TransformerProcessor processor(options, 2);
    processor.to(at::kDouble);
    test::randomise(processor);
    const auto x = at::randn({10, 4}, at::kDouble).requires_grad_(true);
    const auto cond = at::randn({10, 3}, at::kDouble).requires_grad_(true);
    EdgeInputs edges;
    edges.copies = 2;
    auto leaves = processor.parameters();
    leaves.push_back(x);
    leaves.push_back(cond);
    expect_true_gradients([&] { return weighted_sum(processor.forward(x, edges, cond)); }, leaves, 1e-6);
}

TEST(Transformer, SettingsThatCannotBeAreRefused)
{
    const auto refused = [](const char* pointer, const Json& value, const char* says) {
        auto section = transformer_section();
        section[Json::json_pointer(pointer)] = value;
        try {
            (void)small_network(section, graph_without_edges());
            ADD_FAILURE() << pointer << " was accepted";
        } catch (const ConfigError& error) {
            EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
        }
    };
    refused("/processor/num_heads", 3, "do not divide");
    refused("/processor/num_chunks", 3, "does not divide num_layers");
    refused("/processor/dropout_p", 0.1, "dropout is not available");
    refused("/processor/window_size", -2, "must be in [-1");
    refused("/encoders/0/mapper/use_rotary_embeddings", true, "rotary");
    refused("/encoders/0/mapper/layer_kernels", {{"LayerNorm", {{"_target_", "ConditionalLayerNorm"}}}},
            "has no ConditionalLayerNorm");
    refused("/encoders/0/mapper/_target_", "PointWiseForwardMapper", "as many hidden nodes as data nodes");
}

} // namespace
} // namespace gradwind::model
