// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What must hold for a network whatever its weights are.
#include "gradwind/core/error.h"
#include "tests/support/network_properties.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

namespace gradwind::model
{
namespace
{

using test::expect_close;
using test::expect_equal;
using test::expect_finite_differences;
using test::input;
using test::permuted;
using test::run;
using test::small_graph;
using test::small_network;
using test::small_section;

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
        expect_finite_differences(*network, kind);
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

TEST(Network, IsEquivariantToTheOrderOfNodes)
{
    auto section = with("trainable_size", 0);
    section["node_trainable_parameters"] = {{"data", 0}, {"hidden", 2}};
    const std::vector<int64_t> order = {4, 0, 12, 7, 1, 9, 2, 11, 3, 5, 10, 8, 6};
    const auto index = at::tensor(order, at::kLong);
    const auto x = input();
    const auto y = small_network(section, small_graph())->forward(x);
    const auto again =
        small_network(section, permuted(small_graph(), "data", order))->forward(x.index_select(3, index));
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
