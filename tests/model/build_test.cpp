// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/error.h"
#include "gradwind/model/freeze.h"
#include "tests/support/small_network.h"

#include <gtest/gtest.h>

namespace gradwind::model
{
namespace
{

using nlohmann::json;
using test::small_graph;
using test::small_network;
using test::small_section;

struct BadSection {
    const char* pointer;
    const char* value; ///< JSON
    const char* says;  ///< a part of the message
};

const BadSection kBadSections[] = {
    {"/encoders/0/mapper/_target_", R"("x.GNNForwardMaper")", "did you mean `GNNForwardMapper`?"},
    {"/encoders/0/mapper/_target_", R"("x.TransformerForwardMapper")", "16 heads do not divide"},
    {"/encoders/0/mapper", R"({"_target_": "x.GraphTransformerForwardMapper", "num_heads": 2})",
     "an encoder that embeds the data nodes"},
    {"/processor/_target_", R"("TransformerProcessor")", "16 heads do not divide"},
    {"/decoders/0/mapper/_target_", R"("GNNForwardMapper")", "unknown `GNNForwardMapper`"},
    {"/processor/num_chunks", "3", "does not divide num_layers 4"},
    {"/processor/num_layers", "0", "must be in [1"},
    {"/processor/num_channels", "16", "the parts must agree"},
    {"/processor/mlp_implementation", R"("swiglo")", "did you mean `swiglu`?"},
    {"/processor/mlp_hidden_ratio", "0.0", "must be at least 1"},
    {"/processor/sub_graph_edge_attributes", R"(["edge_lenght"])", "did you mean `edge_length`?"},
    {"/processor/layer_kernels", R"({"Activation": {"_target_": "torch.nn.Gelo"}})", "available are GELU"},
    {"/processor/layer_kernels", R"({"Activation": {"_target_": "torch.nn.ELU", "alfa": 2}})", "did you mean `alpha`?"},
    {"/processor/layer_kernels", R"({"Activation": {"_target_": "torch.nn.GELU", "approximate": "sine"}})",
     "expected none or tanh"},
    {"/layer_kernels", R"({"LayerNorm": {"_target_": "GroupNorm"}})", "available are LayerNorm"},
    {"/layer_kernels", R"({"Linear": {"_target_": "Linear", "bias": false}})", "without it are not available yet"},
    {"/processor/layer_kernels", R"({"LayerNorm": {"_target_": "ConditionalLayerNorm"}})",
     "have no ConditionalLayerNorm"},
    {"/layer_kernels", R"({"LayerNorm": {"_target_": "LayerNorm", "eps": 0}})", "must be above 0"},
    {"/num_channels", "0", "must be in [1"},
    {"/residual", R"({"_target_": "TruncatedConnection"})", "needs truncation_down_file_path"},
    {"/residual", R"({"_target_": "SkipConnection", "step": 2})", "must be in [-2, 1]"},
    {"/bounding", R"([{"_target_": "ReluBounding", "variables": ["f"]}])", "no output variable `f`"},
    {"/bounding", R"([{"_target_": "ReluBoundin", "variables": ["d"]}])", "did you mean `ReluBounding`?"},
    {"/bounding", R"([{"_target_": "HardtanhBounding", "variables": ["d"], "min_val": 1, "max_val": 0}])",
     "must be below"},
    {"/bounding",
     R"([{"_target_": "NormalizedReluBounding", "variables": ["d"], "min_val": [0], "normalizer": ["std"]}])",
     "needs the statistics"},
    {"/decoders/0/target_node_features", R"(["coordinates"])", "needs target_node_features: [encoded_data]"},
    {"/decoders/0/target_node_features", R"(["encoded_dat"])", "did you mean `encoded_data`?"},
    {"/processor", R"({"_target_": "GraphTransformerProcessor", "num_heads": 3})", "does not divide the 8 channels"},
    {"/processor", R"({"_target_": "GraphTransformerProcessor"})", "num_heads is 16"},
    {"/processor", R"({"_target_": "GraphTransformerProcessor", "num_heads": 2, "attn_channels": 0})", "in [1"},
    {"/processor", R"({"_target_": "GraphTransformerProcessor", "num_layers": 4, "num_chunks": 3})", "does not divide"},
    {"/decoders/0", R"({"mapper": {"_target_": "GraphTransformerBackwardMapper", "num_heads": 2},
                        "target_node_features": []})",
     "list one at least"},
    {"/model", R"({"_target_": "AnemoiEnsModelEncProcDec"})", "needs a `noise_injector`"},
    {"/model", R"({"hidden_nodes_name": "mesh"})", "mesh"},
};

TEST(BuildModel, BadSectionsAreRefusedWithOneClearMessage)
{
    for (const auto& row : kBadSections) {
        auto section = small_section();
        section[json::json_pointer(row.pointer)] = json::parse(row.value);
        try {
            (void)small_network(section, small_graph());
            ADD_FAILURE() << row.pointer << " = " << row.value << " was accepted";
        } catch (const ConfigError& error) {
            EXPECT_NE(std::string(error.what()).find(row.says), std::string::npos)
                << row.pointer << ": " << error.what();
        }
    }
}

TEST(BuildModel, TheSpellingOfTheReleaseBeforeGivesTheSameNetwork)
{
    const auto now = small_section();
    auto before = json::parse(R"({"hidden_dim": 8, "trainable_parameters":
        {"data": 3, "hidden": 2, "data2hidden": 2, "hidden2hidden": 2, "hidden2data": 2}})");
    before["encoder"] = now["encoders"]["0"]["mapper"];
    before["decoder"] = now["decoders"]["0"]["mapper"];
    before["processor"] = now["processor"];
    for (const auto* part : {"encoder", "decoder", "processor"})
        before[part].erase("trainable_size");
    const auto x = at::randn({1, 2, 1, 13, 3}, at::kDouble);
    EXPECT_TRUE(
        at::equal(small_network(now, small_graph())->forward(x), small_network(before, small_graph())->forward(x)));
}

TEST(BuildModel, ZeroOutputWeightsGiveTheInputBack)
{
    auto section = small_section();
    for (const auto* part : {"encoders", "decoders"}) {
        auto& mapper = section[part]["0"]["mapper"];
        mapper["_target_"] = part[0] == 'e' ? "GraphTransformerForwardMapper" : "GraphTransformerBackwardMapper";
        mapper["num_heads"] = 2;
    }
    section["decoders"]["0"]["mapper"]["initialise_data_extractor_zero"] = true;
    const auto network = small_network(section, small_graph());
    initialise_weights(*network, 1);
    const auto x = at::randn({1, 2, 1, 13, 3}, at::kDouble);
    const auto y = network->forward(x);
    for (int64_t t = 0; t < 2; ++t) {
        EXPECT_TRUE(at::equal(y.select(1, t).select(-1, 0), x.select(1, 1).select(-1, 0)));
        EXPECT_TRUE(at::equal(y.select(1, t).select(-1, 1), x.select(1, 1).select(-1, 2)));
        EXPECT_EQ(y.select(1, t).select(-1, 2).abs().sum().item<double>(), 0);
    }
}

TEST(FreezePart, TakesItsParametersOutOfTrainingAndNamesWhatThereIs)
{
    const auto network = small_network(small_section(), small_graph());
    freeze_part(*network, "processor.proc.1");
    freeze_part(*network, "encoder");
    for (const auto& item : network->named_parameters()) {
        const bool frozen = item.key().starts_with("processor.proc.1.") || item.key().starts_with("encoder.");
        EXPECT_EQ(item.value().requires_grad(), !frozen) << item.key();
    }
    network->forward(at::randn({1, 2, 1, 13, 3}, at::kDouble)).sum().backward();
    for (const auto& item : network->named_parameters())
        EXPECT_EQ(item.value().grad().defined(), item.value().requires_grad()) << item.key();
    try {
        freeze_part(*network, "procesor");
        FAIL();
    } catch (const ConfigError& error) {
        EXPECT_NE(std::string(error.what()).find("did you mean `processor`?"), std::string::npos) << error.what();
    }
}

TEST(LoadState, NamesEveryDifferenceAndCopiesNothing)
{
    const auto network = small_network(small_section(), small_graph());
    std::map<std::string, at::Tensor> state;
    for (const auto& item : network->named_parameters())
        state[item.key()] = at::zeros_like(item.value());
    for (const auto& item : network->named_buffers())
        state[item.key()] = item.value();
    state.erase("processor.proc.0.emb_edges.mlp.0.weight");
    state["encoder.0.emb_edges.mlp.0.bias"] = at::zeros({3});
    state["something.else"] = at::zeros({1});
    const auto before = network->parameters()[0].clone();
    try {
        load_state(*network, state);
        FAIL();
    } catch (const CheckpointError& error) {
        const std::string message = error.what();
        for (const auto* part : {"processor.proc.0.emb_edges.mlp.0.weight is missing",
                                 "encoder.0.emb_edges.mlp.0.bias is [3] but the model has [8]",
                                 "something.else is not a part of this model"})
            EXPECT_NE(message.find(part), std::string::npos) << message;
    }
    EXPECT_TRUE(at::equal(network->parameters()[0], before));
}

/// A state with one tensor under two names, as the original writes it.
std::map<std::string, at::Tensor> graph_transformer_state(torch::nn::Module& network)
{
    auto state = named_state(network);
    for (auto& [name, tensor] : state)
        tensor = tensor.detach().clone();
    return state;
}

TEST(LoadState, OneTensorMayHaveTwoNames)
{
    auto section = small_section();
    section["encoders"]["0"]["mapper"]["_target_"] = "GraphTransformerForwardMapper";
    section["encoders"]["0"]["mapper"]["num_heads"] = 4;
    section["decoders"]["0"]["mapper"]["_target_"] = "GraphTransformerBackwardMapper";
    section["decoders"]["0"]["mapper"]["num_heads"] = 4;
    const auto network = small_network(section, small_graph());
    const std::string first = "encoder.0.proc.layer_norm_attention.weight",
                      second = "encoder.0.proc.layer_norm_attention_dest.weight";
    auto state = graph_transformer_state(*network);
    ASSERT_TRUE(state.contains(second));
    EXPECT_TRUE(at::equal(state[first], state[second]));
    EXPECT_EQ(state.size(), network->named_parameters().size() + network->named_buffers().size() + 4);
    state[first].fill_(2);
    EXPECT_THROW(load_state(*network, state), CheckpointError);
    state[second].fill_(2);
    load_state(*network, state);
    EXPECT_EQ(network->named_parameters()[first].mean().item<double>(), 2);
    state.erase(second);
    load_state(*network, state);
    state["processor.proc.0.layer_norm_attention_dest.weight"] = at::ones({8});
    EXPECT_THROW(load_state(*network, state), CheckpointError);
}

} // namespace
} // namespace gradwind::model
