// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What must hold for a network whatever its weights are.
#include "gradwind/core/error.h"
#include "tests/support/small_network.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

namespace gradwind::model
{
namespace
{

using test::small_graph;
using test::small_network;
using test::small_section;

at::Tensor input(int64_t batch = 1, int64_t members = 1, at::ScalarType dtype = at::kDouble)
{
    at::manual_seed(3);
    return at::randn({batch, 2, members, 13, 3}, dtype);
}

/// A scalar that weighs every output differently.
at::Tensor weighted_sum(const at::Tensor& y)
{
    return (y * at::arange(y.numel(), y.options()).reshape(y.sizes()).cos()).sum();
}

/// Output and all gradients.
std::vector<at::Tensor> run(ForecastModel& network, const at::Tensor& x)
{
    network.zero_grad();
    const auto leaf = x.detach().clone().requires_grad_(true);
    const auto y = network.forward(leaf);
    weighted_sum(y).backward();
    std::vector<at::Tensor> out = {y.detach(), leaf.grad()};
    for (const auto& parameter : network.parameters())
        out.push_back(parameter.grad().clone());
    return out;
}

void expect_close(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b, double tolerance)
{
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i)
        EXPECT_LE((a[i] - b[i]).norm().item<double>(), tolerance * b[i].norm().item<double>()) << "tensor " << i;
}

void expect_equal(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b)
{
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i)
        EXPECT_TRUE(at::equal(a[i], b[i])) << "tensor " << i;
}

/// The small section with a key of encoder, decoder and processor changed.
nlohmann::json with(const char* key, const nlohmann::json& value)
{
    auto section = small_section();
    for (const auto* part : {"/encoders/0/mapper/", "/decoders/0/mapper/", "/processor/"})
        section[nlohmann::json::json_pointer(std::string(part) + key)] = value;
    return section;
}

TEST(Network, GradientsAgreeWithFiniteDifferences)
{
    for (const auto* kind : {"mlp", "swiglu"}) {
        const auto network = small_network(with("mlp_implementation", kind), small_graph());
        const auto x = input();
        (void)run(*network, x);
        constexpr double step = 1e-6;
        for (const auto& item : network->named_parameters()) {
            const at::NoGradGuard no_gradients;
            auto flat = item.value().view({-1});
            const auto direction = at::randn_like(flat);
            flat.add_(direction, step);
            const auto above = weighted_sum(network->forward(x)).item<double>();
            flat.sub_(direction, 2 * step);
            const auto below = weighted_sum(network->forward(x)).item<double>();
            flat.add_(direction, step);
            const auto slope = (item.value().grad().view({-1}) * direction).sum().item<double>();
            EXPECT_NEAR((above - below) / (2 * step), slope, 1e-6 * (1 + std::abs(slope))) << kind << " " << item.key();
        }
    }
}

TEST(Network, RecomputationChangesNoBit)
{
    for (const auto dtype : {at::kDouble, at::kFloat}) {
        const auto x = input(1, 1, dtype);
        const auto kept = run(*small_network(with("gradient_checkpointing", false), small_graph(), dtype), x);
        for (const int chunks : {1, 2, 4}) {
            auto section = with("gradient_checkpointing", true);
            section["processor"]["num_chunks"] = chunks;
            expect_equal(run(*small_network(section, small_graph(), dtype), x), kept);
        }
    }
}

TEST(Network, RecomputationChangesNoBitOverTwoForwardPasses)
{
    const auto twice = [](const nlohmann::json& section) {
        const auto network = small_network(section, small_graph(), at::kFloat);
        const auto y = network->forward(input(1, 1, at::kFloat));
        const auto next = at::cat({y.narrow(-1, 0, 2), y.narrow(-1, 0, 1)}, -1);
        network->forward(next).square().sum().backward();
        std::vector<at::Tensor> out;
        for (const auto& parameter : network->parameters())
            out.push_back(parameter.grad());
        return out;
    };
    expect_equal(twice(with("gradient_checkpointing", true)), twice(with("gradient_checkpointing", false)));
}

TEST(Network, ChunksOfEdgesChangeOnlyRounding)
{
    const auto whole = run(*small_network(small_section(), small_graph()), input());
    for (const int chunks : {2, 3, 100}) {
        auto section = small_section();
        section["encoders"]["0"]["mapper"]["num_chunks"] = chunks;
        section["decoders"]["0"]["mapper"]["num_chunks"] = chunks;
        expect_close(run(*small_network(section, small_graph()), input()), whole, 1e-12);
    }
}

TEST(Network, ThreadsChangeNoBit)
{
    const auto threads = at::get_num_threads();
    at::set_num_threads(1);
    const auto one = run(*small_network(small_section(), small_graph()), input(2, 2));
    at::set_num_threads(3);
    const auto three = run(*small_network(small_section(), small_graph()), input(2, 2));
    at::set_num_threads(threads);
    expect_equal(three, one);
}

TEST(Network, SamplesAndMembersAreIndependent)
{
    const auto network = small_network(small_section(), small_graph());
    const auto x = input(2, 3);
    const auto all = network->forward(x);
    for (int64_t b = 0; b < 2; ++b)
        for (int64_t e = 0; e < 3; ++e) {
            const auto one = network->forward(x.narrow(0, b, 1).narrow(2, e, 1));
            EXPECT_LT((all.narrow(0, b, 1).narrow(2, e, 1) - one).abs().max().item<double>(), 1e-12);
        }
}

/// The same graph with its data nodes in another order.
graph::Graph permuted(const graph::Graph& graph, const std::vector<int64_t>& order)
{
    auto out = graph;
    std::vector<int32_t> new_id(order.size());
    for (size_t i = 0; i < order.size(); ++i) {
        new_id[size_t(order[i])] = int32_t(i);
        out.nodes[0].lat_rad[i] = graph.nodes[0].lat_rad[size_t(order[i])];
        out.nodes[0].lon_rad[i] = graph.nodes[0].lon_rad[size_t(order[i])];
    }
    for (auto& id : out.edges[0].src)
        id = new_id[size_t(id)];
    for (auto& id : out.edges[2].dst)
        id = new_id[size_t(id)];
    return out;
}

TEST(Network, IsEquivariantToTheOrderOfNodes)
{
    auto section = with("trainable_size", 0);
    section["node_trainable_parameters"] = {{"data", 0}, {"hidden", 2}};
    const std::vector<int64_t> order = {4, 0, 12, 7, 1, 9, 2, 11, 3, 5, 10, 8, 6};
    const auto index = at::tensor(order, at::kLong);
    const auto x = input();
    const auto y = small_network(section, small_graph())->forward(x);
    const auto again = small_network(section, permuted(small_graph(), order))->forward(x.index_select(3, index));
    EXPECT_LT((y.index_select(3, index) - again).abs().max().item<double>(), 1e-12);
}

TEST(Network, ParametersMayBeMovedToOtherStorage)
{
    const auto network = small_network(small_section(), small_graph());
    const auto before = network->forward(input()).detach();
    for (auto& parameter : network->parameters())
        parameter.set_data(parameter.detach().clone());
    EXPECT_TRUE(at::equal(network->forward(input()), before));
    const at::NoGradGuard no_gradients;
    for (auto& parameter : network->parameters())
        parameter.zero_();
    EXPECT_FALSE(at::equal(network->forward(input()), before));
}

TEST(Network, InputOfAnotherShapeIsRefused)
{
    const auto network = small_network(small_section(), small_graph());
    EXPECT_THROW((void)network->forward(at::zeros({1, 1, 1, 13, 3}, at::kDouble)), ShapeError);
    EXPECT_THROW((void)network->forward(at::zeros({1, 2, 1, 12, 3}, at::kDouble)), ShapeError);
    EXPECT_THROW((void)network->forward(at::zeros({1, 2, 1, 13, 4}, at::kDouble)), ShapeError);
    EXPECT_THROW((void)network->forward(at::zeros({2, 1, 13, 3}, at::kDouble)), ShapeError);
}

} // namespace
} // namespace gradwind::model
