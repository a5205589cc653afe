// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// One network over several processes equals the network of one, whatever the graph, the cut and the batch.
#include "gradwind/core/error.h"
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
    double squares = 0;
    for (const auto& [name, gradient] : whole.gradients)
        squares += gradient.square().sum().item<double>();
    for (const auto& [name, gradient] : own.gradients) {
        const auto& expected = whole.gradients.at(name);
        const auto scale = std::max(expected.norm().item<double>(), 1e-3 * std::sqrt(squares));
        EXPECT_LT((world.all_reduce_sum(gradient) - expected).norm().item<double>(), kTolerance * scale) << name;
    }
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

GRADWIND_MULTIRANK_TEST(Sharding, RecomputationDoesNotExchangeAgain, RankCounts{2, 3})
{
    auto section = test::small_section();
    for (auto* part : {&section["processor"], &section["encoders"]["0"]["mapper"], &section["decoders"]["0"]["mapper"]})
        (*part)["mlp_implementation"] = "swiglu"; // goes by torch's operations, which keep what they compute
    section["processor"]["num_chunks"] = 2;
    const auto kept = compare(world, section, patches(world));
    for (auto* part : {&section["processor"], &section["encoders"]["0"]["mapper"], &section["decoders"]["0"]["mapper"]})
        (*part)["gradient_checkpointing"] = true;
    EXPECT_EQ(compare(world, section, patches(world)), kept);
    EXPECT_GT(kept, 0);
}

} // namespace
} // namespace gradwind::model
