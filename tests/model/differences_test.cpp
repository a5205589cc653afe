// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Gradients against finite differences, for the parts and combinations that the tests of single networks leave out.
#include "gradwind/core/error.h"
#include "gradwind/model/bounding.h"
#include "gradwind/model/layers.h"
#include "gradwind/model/noise_source.h"
#include "tests/support/gradients.h"
#include "tests/support/network_properties.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

namespace gradwind::model
{
namespace
{

using test::expect_true_gradients;
using test::small_graph;
using test::small_network;
using Json = nlohmann::json;
using Form = LayerKernels::NormForm;

at::Tensor sum_of(const at::Tensor& y)
{
    return test::weighted_sum(y);
}

TEST(Differences, OfEveryActivation)
{
    at::manual_seed(4);
    for (const auto& name : ops::activation_names()) {
        auto activation = ops::activation_of(name);
        ASSERT_TRUE(activation) << name;
        for (auto& parameter : activation->parameters)
            parameter = parameter * 1.25 + 0.0625;
        // Away from the bends of those that have some.
        const auto x = (at::randn({40}, at::kDouble) * 3 + 0.011).requires_grad_(true);
        SCOPED_TRACE(name);
        expect_true_gradients([&] { return sum_of(ops::activate(x, *activation)); }, {x}, 1e-6);
    }
}

TEST(Differences, OfEveryFormOfANorm)
{
    at::manual_seed(5);
    for (const auto kind : {Form::Kind::Layer, Form::Kind::RootMeanSquare})
        for (const auto weights : {Form::Weights::None, Form::Weights::Scale, Form::Weights::ScaleAndShift}) {
            LayerNorm norm(6, {.kind = kind, .weights = weights, .epsilon = 0.3});
            norm.to(at::kDouble);
            auto operands = norm.parameters();
            const bool shifts = weights == Form::Weights::ScaleAndShift && kind == Form::Kind::Layer;
            EXPECT_EQ(operands.size(), shifts ? 2u : weights == Form::Weights::None ? 0u : 1u);
            const auto x = at::randn({5, 6}, at::kDouble).requires_grad_(true);
            operands.push_back(x);
            expect_true_gradients([&] { return sum_of(norm.forward(x)); }, operands);
            const auto centred = kind == Form::Kind::Layer ? x - x.mean(-1, true) : x;
            const auto unit = centred / (centred.square().mean(-1, true) + 0.3).sqrt();
            EXPECT_LT((norm.forward(x) - unit).abs().max().item<double>(), 1e-13);
        }
}

TEST(Differences, OfEveryBounding)
{
    const VariableTable variables({"a", "b", "c", "d"}, std::vector<std::string>{}, std::vector<std::string>{});
    const Statistics statistics{{1, 2, 3, 4}, {2, 3, 4, 5}, {0, 0, 0, 0}, {5, 6, 7, 8}};
    const char* const sections[] = {
        R"({"_target_": "ReluBounding", "variables": ["c", "a"]})",
        R"({"_target_": "LeakyReluBounding", "variables": ["b"]})",
        R"({"_target_": "NormalizedReluBounding", "variables": ["d", "a"], "min_val": [3, 1.5],
            "normalizer": ["mean-std", "std"]})",
        R"({"_target_": "NormalizedLeakyReluBounding", "variables": ["b"], "min_val": [1], "normalizer": ["min-max"]})",
        R"({"_target_": "HardtanhBounding", "variables": ["a", "d"], "min_val": -0.5, "max_val": 0.6})",
        R"({"_target_": "LeakyHardtanhBounding", "variables": ["a"], "min_val": -0.5, "max_val": 0.6})",
        R"({"_target_": "FractionBounding", "variables": ["b", "c"], "min_val": 0, "max_val": 1, "total_var": "b"})",
        R"({"_target_": "LeakyFractionBounding", "variables": ["a"], "min_val": 0, "max_val": 1, "total_var": "d"})"};
    for (const auto* text : sections) {
        SCOPED_TRACE(text);
        const auto bounding = build_bounding(Config::from_json(Json::parse(text), "test"), variables, &statistics);
        bounding->to(at::kDouble);
        at::manual_seed(6);
        const auto x = at::randn({1, 2, 1, 5, 4}, at::kDouble).requires_grad_(true);
        expect_true_gradients([&] { return sum_of(bounding->forward(x)); }, {x}, 1e-6);
    }
}

TEST(Boundings, NormalisedLimitsFollowTheOrderOfTheConfiguration)
{
    const VariableTable variables({"a", "b"}, std::vector<std::string>{}, std::vector<std::string>{});
    const Statistics statistics{{0, 0}, {1, 1}, {0, 0}, {1, 1}};
    const auto section = Json::parse(R"({"_target_": "NormalizedReluBounding", "variables": ["b", "a"],
        "min_val": [2, -3], "normalizer": ["std", "std"]})");
    const auto y = build_bounding(Config::from_json(section, "test"), variables, &statistics)
                       ->forward(at::full({1, 1, 1, 1, 2}, -10.F));
    EXPECT_EQ(y.flatten()[0].item<float>(), -3);
    EXPECT_EQ(y.flatten()[1].item<float>(), 2);
}

TEST(Boundings, AFractionOfItselfIsTakenOfTheBoundedTotal)
{
    const VariableTable variables({"a", "b"}, std::vector<std::string>{}, std::vector<std::string>{});
    const auto section = Json::parse(R"({"_target_": "FractionBounding", "variables": ["a", "b"], "min_val": 0,
        "max_val": 2, "total_var": "b"})");
    const auto x = at::tensor({0.5F, 7.F}).reshape({1, 1, 1, 1, 2});
    const auto y = build_bounding(Config::from_json(section, "test"), variables, nullptr)->forward(x).flatten();
    EXPECT_EQ(y[0].item<float>(), 0.5F * 2);
    EXPECT_EQ(y[1].item<float>(), 2 * 2);
}

Json graph_transformer_section()
{
    auto section = test::small_section();
    for (const auto* part : {"/encoders/0/mapper", "/decoders/0/mapper", "/processor"}) {
        auto& own = section[Json::json_pointer(part)];
        auto target = own["_target_"].get<std::string>();
        own["_target_"] = target.replace(target.find("GNN"), 3, "GraphTransformer");
        own["num_heads"] = 2;
        own["mlp_hidden_ratio"] = 2;
    }
    return section;
}

TEST(Differences, OfNetworksPutTogetherOtherwise)
{
    std::vector<std::pair<const char*, Json>> sections;
    const auto add = [&](const char* name, const auto& change) {
        auto section = graph_transformer_section();
        change(section);
        sections.emplace_back(name, std::move(section));
    };
    add("without latent skip", [](Json& s) { s["model"]["latent_skip"] = false; });
    add("without processor", [](Json& s) { s["processor"] = {{"_target_", "NoOpProcessor"}}; });
    add("a decoder of another width", [](Json& s) { s["decoders"]["0"]["mapper"]["num_channels"] = 12; });
    add("root mean squares", [](Json& s) {
        s["layer_kernels"] = {{"LayerNorm", {{"_target_", "RMSNorm"}, {"eps", 0.1}}},
                              {"Activation", {{"_target_", "GELU"}, {"approximate", "tanh"}}}};
    });
    add("norms without shift", [](Json& s) {
        s["layer_kernels"] = {{"LayerNorm", {{"_target_", "LayerNorm"}, {"bias", false}, {"eps", 0.1}}},
                              {"Activation", {{"_target_", "SiLU"}}}};
    });
    auto graph_network = test::small_section();
    graph_network["layer_kernels"] = {{"LayerNorm", {{"_target_", "LayerNorm"}, {"bias", false}, {"eps", 0.1}}}};
    sections.emplace_back("a graph network with norms without shift", graph_network);
    graph_network["layer_kernels"] = {{"LayerNorm", {{"_target_", "AutocastLayerNorm"}, {"eps", 0.1}}}};
    sections.emplace_back("a graph network with another epsilon", graph_network);
    for (const auto& [name, section] : sections)
        test::expect_finite_differences(*small_network(section, small_graph()), name);
}

TEST(Differences, OfAnEnsembleOfGraphTransformersOnATruncatedResidual)
{
    auto graph = small_graph();
    for (auto& edges : graph.edges) {
        graph::Attribute weights{int64_t(edges.src.size()), 1, {}};
        for (size_t e = 0; e < edges.src.size(); ++e)
            weights.values.push_back(0.1F + 0.01F * float(e));
        edges.attributes["gauss_weight"] = weights;
    }
    auto section = graph_transformer_section();
    section["model"] = {{"_target_", "AnemoiEnsModelEncProcDec"}};
    section["noise_injector"] = {
        {"_target_", "NoiseConditioning"}, {"noise_std", 1}, {"noise_channels_dim", 3}, {"noise_mlp_hidden_dim", 5}};
    section["processor"]["layer_kernels"] = {
        {"LayerNorm", {{"_target_", "ConditionalLayerNorm"}, {"condition_shape", 3}}}};
    section["residual"] = {{"_target_", "TruncatedConnection"},
                           {"truncation_down_edges_name", {"data", "to", "hidden"}},
                           {"truncation_up_edges_name", {"hidden", "to", "data"}}};
    const auto network = small_network(section, graph);
    const CounterNoise noise({.key = 1, .step = 0, .samples = {0}, .first_member = 0});
    const auto x = test::input(1, 2).requires_grad_(true);
    auto leaves = network->parameters();
    leaves.push_back(x);
    expect_true_gradients([&] { return sum_of(network->forward(x, {.rollout_step = 1, .noise = &noise})); }, leaves,
                          1e-6);
    section["residual"]["edge_weight_attribute"] = "gauss_weight";
    const auto other = small_network(section, graph)->forward(x, {.rollout_step = 1, .noise = &noise});
    EXPECT_TRUE(at::allclose(other, network->forward(x, {.rollout_step = 1, .noise = &noise}), 0, 1e-9))
        << "without the key the weights are those of `gauss_weight`";
}

Json pointwise_section()
{
    auto section = test::small_section();
    section["model"] = {{"hidden_nodes_name", "data"}};
    section["encoders"]["0"]["mapper"] = {{"_target_", "PointWiseForwardMapper"}};
    section["decoders"]["0"]["mapper"] = {{"_target_", "PointWiseBackwardMapper"}};
    section["processor"] = {{"_target_", "PointWiseMLPProcessor"}, {"num_layers", 4}, {"mlp_hidden_ratio", 3}};
    section["node_trainable_parameters"] = Json::object();
    return section;
}

TEST(PointWise, IsEquivariantToTheOrderOfNodesAndToNumbersOfThreads)
{
    const std::vector<int64_t> order = {5, 0, 12, 3, 9, 1, 11, 7, 2, 10, 4, 8, 6};
    const auto index = at::tensor(order, at::kLong);
    const auto x = test::input(2, 2);
    const auto here = small_network(pointwise_section(), small_graph())->forward(x);
    const auto there = small_network(pointwise_section(), test::permuted(small_graph(), "data", order))
                           ->forward(x.index_select(3, index));
    EXPECT_LT((there - here.index_select(3, index)).abs().max().item<double>(), 1e-13);
    const auto threads = at::get_num_threads();
    at::set_num_threads(1);
    const auto one = test::run(*small_network(pointwise_section(), small_graph()), x);
    at::set_num_threads(2);
    const auto two = test::run(*small_network(pointwise_section(), small_graph()), x);
    at::set_num_threads(threads);
    test::expect_equal(two, one);
}

} // namespace
} // namespace gradwind::model
