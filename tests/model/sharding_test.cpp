// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// One network over several processes equals the network of one, whatever the graph, the cut and the batch.
#include "gradwind/core/error.h"
#include "gradwind/model/several_datasets.h"
#include "gradwind/model/shared_projection.h"
#include "tests/support/ranks.h"
#include "tests/support/small_network.h"

#include <gtest/gtest.h>

namespace gradwind::model
{
namespace
{

using parallel::Partition;
using Tensors = std::map<std::string, at::Tensor>;

constexpr double kTolerance = 1e-12;

std::shared_ptr<ForecastModel> network(const nlohmann::json& section, const graph::Graph& graph,
                                       const parallel::Sharding& sharding)
{
    const auto variables = test::small_variables();
    auto model = build_model(Config::from_json(section, "test"), {.graph = graph,
                                                                  .variables = variables,
                                                                  .statistics = nullptr,
                                                                  .n_step_input = 2,
                                                                  .n_step_output = 2,
                                                                  .dataset_name = "data",
                                                                  .sharding = sharding});
    model->to(at::kDouble);
    test::randomise(*model);
    return model;
}

/// A cut that is no range: row i goes to rank (3 i + i / 2) mod n.
Partition scattered(int64_t n_rows, int n_parts)
{
    std::vector<int32_t> owner;
    for (int64_t i = 0; i < n_rows; ++i)
        owner.push_back(int32_t((3 * i + i / 2) % n_parts));
    return Partition::from_owners(std::move(owner), n_parts);
}

/// Output and gradients of a loss that weighs every output value differently; of this rank's rows.
struct Pass {
    at::Tensor output, input_gradient;
    Tensors gradients;
};

Pass run(ForecastModel& model, const at::Tensor& x, const at::Tensor& weights)
{
    Pass pass;
    const auto leaf = x.clone().requires_grad_(true);
    const auto y = model.forward(leaf);
    (y.square() * weights).sum().backward();
    pass.output = y.detach();
    pass.input_gradient = leaf.grad();
    for (const auto& item : model.named_parameters())
        pass.gradients[item.key()] = item.value().grad().defined() ? item.value().grad() : at::zeros_like(item.value());
    return pass;
}

double difference(const at::Tensor& a, const at::Tensor& b)
{
    return (a - b).norm().item<double>() / std::max(1e-300, b.norm().item<double>());
}

/// Gradients of all ranks together, against those of one.
void expect_sums_are(const parallel::Group& world, const Tensors& own, const Tensors& whole)
{
    double squares = 0;
    for (const auto& [name, gradient] : whole)
        squares += gradient.square().sum().item<double>();
    for (const auto& [name, gradient] : own) {
        const auto& expected = whole.at(name);
        const auto scale = std::max(expected.norm().item<double>(), 1e-3 * std::sqrt(squares));
        EXPECT_LT((world.all_reduce_sum(gradient) - expected).norm().item<double>(), kTolerance * scale) << name;
    }
}

/// Compares rank by rank and, summed over ranks, the gradients. @return bytes that this rank handed to all-to-alls
int64_t compare(const parallel::Group& world, const nlohmann::json& section, const parallel::Sharding& sharding)
{
    const auto graph = test::small_graph();
    constexpr int64_t n_batch = 2, n_members = 2, n_data = 13;
    at::manual_seed(3);
    const auto x = at::randn({n_batch, 2, n_members, n_data, 3}, at::kDouble);
    const auto weights = at::rand({n_batch, 2, n_members, n_data, 3}, at::kDouble);
    const auto whole = run(*network(section, graph, {}), x, weights);
    const auto rows = sharding.own_rows("data");
    const auto before = world.traffic().of(parallel::Verb::AllToAll).bytes;
    const auto own = run(*network(section, graph, sharding), rows.of(x, 3), rows.of(weights, 3));
    const auto bytes = world.traffic().of(parallel::Verb::AllToAll).bytes - before;
    EXPECT_LT(difference(own.output, rows.of(whole.output, 3)), kTolerance);
    EXPECT_LT(difference(own.input_gradient, rows.of(whole.input_gradient, 3)), kTolerance);
    expect_sums_are(world, own.gradients, whole.gradients);
    return bytes;
}

parallel::Sharding ranges(const parallel::Group& world)
{
    return {world,
            {{"data", Partition::contiguous(13, world.size())}, {"hidden", Partition::contiguous(7, world.size())}}};
}

parallel::Sharding patches(const parallel::Group& world)
{
    return {world, {{"data", scattered(13, world.size())}, {"hidden", scattered(7, world.size())}}};
}

GRADWIND_MULTIRANK_TEST(Sharding, GraphNetworkEqualsOneProcess, RankCounts{1, 2, 3, 4})
{
    compare(world, test::small_section(), ranges(world));
    compare(world, test::small_section(), patches(world));
}

/// The small network with graph transformer layers and mappers in chunks.
nlohmann::json graph_transformer()
{
    auto section = test::small_section();
    for (auto* part :
         {&section["processor"], &section["encoders"]["0"]["mapper"], &section["decoders"]["0"]["mapper"]}) {
        auto target = (*part)["_target_"].get<std::string>();
        (*part)["_target_"] = target.replace(target.find("GNN"), 3, "GraphTransformer");
        (*part)["num_heads"] = 2;
        (*part)["qk_norm"] = true; // otherwise the gradient of the keys' bias is rounding alone
        (*part)["num_chunks"] = 2;
    }
    return section;
}

GRADWIND_MULTIRANK_TEST(Sharding, GraphTransformerEqualsOneProcess, RankCounts{1, 2, 3, 4})
{
    compare(world, graph_transformer(), ranges(world));
    compare(world, graph_transformer(), patches(world));
}

GRADWIND_MULTIRANK_TEST(Sharding, GraphTransformerByHeadsEqualsOneProcess, RankCounts{1, 2, 3, 4})
{
    auto section = graph_transformer();
    for (auto* part :
         {&section["processor"], &section["encoders"]["0"]["mapper"], &section["decoders"]["0"]["mapper"]}) {
        (*part)["num_heads"] = 4;
        (*part)["shard_strategy"] = "heads";
    }
    compare(world, section, ranges(world));
    section["processor"]["gradient_checkpointing"] = true;
    section["processor"]["mlp_implementation"] = "swiglu";
    compare(world, section, patches(world));
}

/// The parts of a section.
std::vector<nlohmann::json*> parts_of(nlohmann::json& section)
{
    return {&section["processor"], &section["encoders"]["0"]["mapper"], &section["decoders"]["0"]["mapper"]};
}

/// Transformer mappers around a Transformer.
nlohmann::json transformer(int64_t window)
{
    auto section = test::small_section();
    const char* targets[] = {"TransformerProcessor", "TransformerForwardMapper", "TransformerBackwardMapper"};
    for (size_t i = 0; i < 3; ++i)
        *parts_of(section)[i] = {
            {"_target_", targets[i]}, {"num_heads", 4}, {"window_size", window}, {"gradient_checkpointing", false}};
    section["processor"]["num_layers"] = 2;
    section["processor"]["qk_norm"] = true;
    return section;
}

/// Consecutive rows, one rank after the other with so many of them.
Partition shards(std::vector<int64_t> sizes, int n_ranks, int64_t n_rows)
{
    std::vector<int32_t> owner;
    for (int rank = 0; rank < n_ranks; ++rank)
        owner.insert(owner.end(), size_t(rank + 1 == n_ranks ? n_rows - int64_t(owner.size()) : sizes[size_t(rank)]),
                     int32_t(rank));
    return Partition::from_owners(std::move(owner), n_ranks);
}

GRADWIND_MULTIRANK_TEST(Sharding, TransformerBySequenceEqualsOneProcess, RankCounts{1, 2, 3, 4})
{
    // From a node that sees itself only to windows wider than several shards and than everything.
    for (const int64_t window : {0, 2, 4, 100})
        compare(world, transformer(window), ranges(world));
    auto section = transformer(3);
    section["processor"]["gradient_checkpointing"] = true;
    section["processor"]["num_chunks"] = 2;
    section["processor"]["use_alibi_slopes"] = true;
    section["processor"]["softcap"] = 2.5;
    section["decoders"]["0"]["mapper"]["gradient_checkpointing"] = true;
    section["decoders"]["0"]["mapper"]["mlp_implementation"] = "swiglu";
    section["decoders"]["0"]["mapper"]["shard_strategy"] = "sequence";
    compare(world, section, ranges(world));
}

GRADWIND_MULTIRANK_TEST(Sharding, EmptyAndOneRowShardsEqualOneProcess, RankCounts{2, 3, 4})
{
    const parallel::Sharding sharding = {
        world, {{"data", shards({0, 1, 7}, world.size(), 13)}, {"hidden", shards({1, 0, 4}, world.size(), 7)}}};
    for (const int64_t window : {0, 2, -1})
        compare(world, transformer(window), sharding);
    compare(world, test::small_section(), sharding);
    auto section = graph_transformer();
    compare(world, section, sharding);
    for (auto* part : parts_of(section)) {
        (*part)["num_heads"] = 4;
        (*part)["shard_strategy"] = "heads";
    }
    compare(world, section, sharding);
}

GRADWIND_MULTIRANK_TEST(Sharding, TransformerByHeadsEqualsOneProcess, RankCounts{1, 2, 3, 4})
{
    compare(world, transformer(-1), ranges(world));
    compare(world, transformer(2), patches(world)); // scattered nodes leave only the heads
    auto section = transformer(2);
    for (auto* part : parts_of(section)) {
        (*part)["shard_strategy"] = "heads";
        (*part)["attention_implementation"] = "scaled_dot_product_attention";
        (*part)["gradient_checkpointing"] = true;
        (*part)["use_alibi_slopes"] = true;
    }
    section["encoders"]["0"]["mapper"]["window_size"] = -1; // as wide as there are source nodes, of all processes
    compare(world, section, ranges(world));
    compare(world, section, patches(world));
}

/// Layers without neighbours, on the data nodes.
nlohmann::json point_wise()
{
    auto section = test::small_section();
    section["model"] = {{"hidden_nodes_name", "data"}};
    const char* targets[] = {"PointWiseMLPProcessor", "PointWiseForwardMapper", "PointWiseBackwardMapper"};
    for (size_t i = 0; i < 3; ++i)
        *parts_of(section)[i] = {{"_target_", targets[i]}};
    section["processor"]["num_layers"] = 2;
    return section;
}

GRADWIND_MULTIRANK_TEST(Sharding, PointWiseNetworkEqualsOneProcess, RankCounts{1, 2, 3})
{
    EXPECT_EQ(compare(world, point_wise(), patches(world)), 0);
}

GRADWIND_MULTIRANK_TEST(Sharding, WhatCannotBeSharedIsRefusedWithAReason, RankCounts{2})
{
    const auto message_of = [&](const nlohmann::json& section, const parallel::Sharding& sharding,
                                const graph::Graph& graph = test::small_graph()) -> std::string {
        try {
            (void)network(section, graph, sharding);
        } catch (const ConfigError& error) {
            return error.what();
        }
        return "";
    };
    auto section = transformer(-1);
    section["processor"]["shard_strategy"] = "sequence";
    EXPECT_NE(message_of(section, ranges(world)).find("use shard_strategy=heads"), std::string::npos);
    section["processor"]["window_size"] = 2;
    EXPECT_EQ(message_of(section, ranges(world)), "");
    EXPECT_NE(message_of(section, patches(world)).find("partition=contiguous"), std::string::npos);
    auto graph_of_pairs = test::small_graph(); // as many hidden nodes as data nodes, and they are others
    graph_of_pairs.nodes[1] = test::scattered_nodes("hidden", 13, 8);
    section = point_wise();
    section["model"]["hidden_nodes_name"] = "hidden";
    auto pairs = patches(world);
    pairs.nodes["hidden"] = Partition::contiguous(13, world.size());
    EXPECT_NE(message_of(section, pairs, graph_of_pairs).find("the same rows of data and hidden nodes"),
              std::string::npos);
    pairs.nodes["hidden"] = pairs.nodes["data"];
    EXPECT_EQ(message_of(section, pairs, graph_of_pairs), "");
    section = transformer(-1);
    section["decoders"]["0"]["mapper"]["num_heads"] = 1;
    EXPECT_NE(message_of(section, ranges(world)).find("1 attention heads cannot be shared by 2 processes"),
              std::string::npos);
    const auto graph = test::small_graph();
    std::vector<const graph::NodeSet*> sets = {&graph.node_set("hidden"), &graph.node_set("data")};
    for (const auto kind : {parallel::PartitionKind::Contiguous, parallel::PartitionKind::Bisection})
        EXPECT_THROW((void)parallel::make_partitions(kind, sets, 8), ConfigError);
}

GRADWIND_MULTIRANK_TEST(Sharding, ATruncatedResidualEqualsOneProcess, RankCounts{1, 2, 3, 4})
{
    auto section = test::small_section();
    const auto without = compare(world, section, ranges(world));
    section["residual"] = {{"_target_", "TruncatedConnection"},
                           {"truncation_down_edges_name", {"data", "to", "hidden"}},
                           {"truncation_up_edges_name", {"hidden", "to", "data"}},
                           {"edge_weight_attribute", "edge_length"}};
    const auto with = compare(world, section, ranges(world));
    EXPECT_EQ(with > without, world.size() > 1);
    compare(world, section, patches(world));
    // Shards without nodes, and coarse nodes that nobody has a part in.
    const parallel::Sharding sharding = {
        world, {{"data", shards({0, 1, 7}, world.size(), 13)}, {"hidden", shards({1, 0, 4}, world.size(), 7)}}};
    compare(world, section, sharding);
}

const std::vector<std::pair<std::string, int64_t>> kTwo = {{"data", 13}, {"other", 9}};

/// The small graph with nodes and edges of a second data set.
graph::Graph graph_of_two()
{
    auto graph = test::small_graph();
    graph.nodes.push_back(test::scattered_nodes("other", 9, 11));
    graph.edges.push_back(test::random_edges("other", "hidden", 9, 7, 23, 12));
    graph.edges.push_back(test::random_edges("hidden", "other", 7, 9, 27, 13));
    return graph;
}

std::shared_ptr<SeveralDatasetsModel> network_of_two(const nlohmann::json& section, const graph::Graph& graph,
                                                     const parallel::Sharding& sharding)
{
    const auto variables = test::small_variables();
    auto model = build_model(Config::from_json(section, "test"),
                             {.graph = graph,
                              .variables = variables,
                              .statistics = nullptr,
                              .n_step_input = 2,
                              .n_step_output = 2,
                              .dataset_name = "data",
                              .sharding = sharding},
                             {{.name = "other", .variables = variables}});
    model->to(at::kDouble);
    test::randomise(*model);
    return model;
}

/// Outputs and gradients of inputs by data set, gradients of parameters.
struct PassOfTwo {
    Fields outputs, input_gradients;
    Tensors gradients;
};

PassOfTwo run(SeveralDatasetsModel& model, const Fields& x, const Fields& weights)
{
    PassOfTwo pass;
    Fields leaves;
    for (const auto& [name, fields] : x)
        leaves[name] = fields.clone().requires_grad_(true);
    at::Tensor loss;
    for (const auto& [name, y] : model.forward_all(leaves)) {
        const auto own = (y.square() * weights.at(name)).sum();
        loss = loss.defined() ? loss + own : own;
        pass.outputs[name] = y.detach();
    }
    loss.backward();
    for (const auto& [name, leaf] : leaves)
        pass.input_gradients[name] = leaf.grad().defined() ? leaf.grad() : at::zeros_like(leaf);
    for (const auto& item : model.named_parameters())
        pass.gradients[item.key()] = item.value().grad().defined() ? item.value().grad() : at::zeros_like(item.value());
    return pass;
}

/// compare() for both data sets. @return how many are predicted
size_t compare_two(const parallel::Group& world, const nlohmann::json& section, const parallel::Sharding& sharding)
{
    const auto graph = graph_of_two();
    at::manual_seed(3);
    Fields x, weights, own_x, own_weights;
    for (const auto& [name, n_nodes] : kTwo) {
        const auto rows = sharding.own_rows(name);
        x[name] = at::randn({2, 2, 2, n_nodes, 3}, at::kDouble);
        weights[name] = at::rand({2, 2, 2, n_nodes, 3}, at::kDouble);
        own_x[name] = rows.of(x[name], 3);
        own_weights[name] = rows.of(weights[name], 3);
    }
    const auto whole = run(*network_of_two(section, graph, {}), x, weights);
    const auto own = run(*network_of_two(section, graph, sharding), own_x, own_weights);
    for (const auto& [name, y] : whole.outputs)
        EXPECT_LT(difference(own.outputs.at(name), sharding.own_rows(name).of(y, 3)), kTolerance) << name;
    for (const auto& [name, gradient] : whole.input_gradients) {
        const auto expected = sharding.own_rows(name).of(gradient, 3);
        EXPECT_LE((own.input_gradients.at(name) - expected).norm().item<double>(),
                  kTolerance * expected.norm().item<double>())
            << name;
    }
    expect_sums_are(world, own.gradients, whole.gradients);
    return whole.outputs.size();
}

/// Adds an encoder and a decoder of the second data set, like those of the first.
nlohmann::json of_two(nlohmann::json section)
{
    section["node_trainable_parameters"]["other"] = 3;
    for (const auto& [parts, names] :
         {std::pair("encoders", "source_datasets"), std::pair("decoders", "target_datasets")}) {
        section[parts]["1"] = section[parts]["0"];
        section[parts]["1"][names] = nlohmann::json::array({"other"});
    }
    return section;
}

/// ranges() or patches() with the nodes of the second data set.
parallel::Sharding with_other(parallel::Sharding sharding, Partition other)
{
    sharding.nodes["other"] = std::move(other);
    return sharding;
}

GRADWIND_MULTIRANK_TEST(Sharding, NetworksOfTwoDataSetsEqualOneProcess, RankCounts{1, 2, 3, 4})
{
    const auto n = world.size();
    const auto in_ranges = with_other(ranges(world), Partition::contiguous(9, n));
    const auto in_patches = with_other(patches(world), scattered(9, n));
    // Processes without a node of one set or another.
    const parallel::Sharding uneven = {
        world,
        {{"data", shards({0, 1, 7}, n, 13)}, {"other", shards({5, 0, 1}, n, 9)}, {"hidden", shards({1, 0, 4}, n, 7)}}};
    for (const auto& sharding : {in_ranges, in_patches, uneven})
        EXPECT_EQ(compare_two(world, of_two(test::small_section()), sharding), 2u);
    EXPECT_EQ(compare_two(world, of_two(graph_transformer()), in_patches), 2u);
    EXPECT_EQ(compare_two(world, of_two(transformer(2)), in_ranges), 2u) << "by sequence";
    EXPECT_EQ(compare_two(world, of_two(transformer(2)), in_patches), 2u) << "by heads";
}

GRADWIND_MULTIRANK_TEST(Sharding, EveryWayToJoinTwoDataSetsEqualsOneProcess, RankCounts{1, 2, 3})
{
    const auto sharding = with_other(patches(world), scattered(9, world.size()));
    const auto gnn = of_two(test::small_section()), transformers = of_two(graph_transformer());
    auto shared = gnn; // one encoder for both
    shared["encoders"].erase("1");
    shared["encoders"]["0"]["source_datasets"] = nlohmann::json::array({"data", "other"});
    shared["latent_aggregator"] = {{"_target_", "MeanAggregator"}};
    EXPECT_EQ(compare_two(world, shared, sharding), 2u);
    auto side_by_side = transformers;
    side_by_side["latent_aggregator"] = {{"_target_", "ConcatAggregator"}};
    side_by_side["processor"]["num_channels"] = 16;
    EXPECT_EQ(compare_two(world, side_by_side, sharding), 2u);
    auto read_only = gnn;
    read_only["decoders"].erase("1");
    EXPECT_EQ(compare_two(world, read_only, sharding), 1u);
    auto written_only = transformers;
    written_only["encoders"].erase("1");
    written_only["decoders"]["1"]["target_node_features"] = nlohmann::json::array({"coordinates", "forcings"});
    EXPECT_EQ(compare_two(world, written_only, sharding), 2u);
}

GRADWIND_MULTIRANK_TEST(Sharding, AMatrixOverProcessesHasTheBitsOfOne, RankCounts{2, 3})
{
    const grid::SparseMatrix matrix{
        4, 9, {0, 3, 3, 7, 9}, {8, 0, 4, 1, 2, 5, 7, 3, 6}, {0.5, 0.25, 1.5, 3, 0.125, 0.7, 0.1, 0.3, 0.9}};
    const auto columns = scattered(9, world.size());
    const auto rows = rows_by_columns(matrix, columns);
    at::manual_seed(7);
    const auto x = at::randn({3, 9, 2}, at::kFloat);
    SharedProjection whole(matrix, parallel::Group::self(), Partition(9), Partition(4));
    SharedProjection own(matrix, world, columns, rows);
    const parallel::RowSet own_columns(columns.rows(world.rank()), 9), own_rows(rows.rows(world.rank()), 4);
    const auto before = world.traffic().of(parallel::Verb::AllToAll).bytes;
    EXPECT_TRUE(at::equal(own(own_columns.of(x, 1).contiguous()), own_rows.of(whole(x), 1)));
    const auto sent = world.traffic().of(parallel::Verb::AllToAll).bytes - before;
    EXPECT_EQ(sent, 3 * 2 * 4 * count_halo(matrix, columns, rows).parts[size_t(world.rank())].n_send);
}

GRADWIND_MULTIRANK_TEST(Sharding, ATransformerBySequenceSendsOnlyWhatNeighboursSee, RankCounts{2})
{
    auto section = transformer(2);
    for (auto* part : {parts_of(section)[1], parts_of(section)[2]})
        (*part)["shard_strategy"] = "heads";
    const auto heads_of_mappers = compare(world, section, ranges(world));
    section["processor"]["window_size"] = 0;
    const auto without = compare(world, section, ranges(world));
    // 2 rows of 4 copies, forward and back again, 2 layers, 8 channels of 8 bytes.
    EXPECT_EQ(heads_of_mappers - without, (2 + 2) * 4 * 2 * 8 * 8);
}

GRADWIND_MULTIRANK_TEST(Sharding, RecomputationDoesNotExchangeAgain, RankCounts{2, 3})
{
    auto section = test::small_section();
    for (auto* part : {&section["processor"], &section["encoders"]["0"]["mapper"], &section["decoders"]["0"]["mapper"]})
        (*part)["mlp_implementation"] = "swiglu"; // goes by torch's operations, which keep what they compute
    section["processor"]["num_chunks"] = 2;
    auto windows = transformer(2);
    windows["processor"]["num_chunks"] = 2;
    for (auto& [network, cut] : {std::pair(&section, patches(world)), std::pair(&windows, ranges(world))}) {
        const auto kept = compare(world, *network, cut);
        for (auto* part : parts_of(*network))
            (*part)["gradient_checkpointing"] = true;
        EXPECT_EQ(compare(world, *network, cut), kept);
        EXPECT_GT(kept, 0);
    }
}

} // namespace
} // namespace gradwind::model
