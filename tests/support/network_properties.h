// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What tests of whole networks have in common.
#pragma once
#include "tests/support/gradients.h"
#include "tests/support/small_network.h"

#include <gtest/gtest.h>

namespace gradwind::test
{

inline at::Tensor input(int64_t batch = 1, int64_t members = 1, at::ScalarType dtype = at::kDouble)
{
    at::manual_seed(3);
    return at::randn({batch, 2, members, 13, 3}, dtype);
}

/// Output and all gradients.
inline std::vector<at::Tensor> run(model::ForecastModel& network, const at::Tensor& x)
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

inline void expect_close(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b, double tolerance)
{
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i)
        EXPECT_LE((a[i] - b[i]).norm().item<double>(), tolerance * b[i].norm().item<double>()) << "tensor " << i;
}

inline void expect_equal(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b)
{
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i)
        EXPECT_TRUE(at::equal(a[i], b[i])) << "tensor " << i;
}

/// The gradient of every parameter, along a random direction, against central differences.
inline void expect_finite_differences(model::ForecastModel& network, const std::string& what)
{
    const auto x = input();
    (void)run(network, x);
    constexpr double step = 1e-6;
    for (const auto& item : network.named_parameters()) {
        const at::NoGradGuard no_gradients;
        auto flat = item.value().view({-1});
        const auto direction = at::randn_like(flat);
        flat.add_(direction, step);
        const auto above = weighted_sum(network.forward(x)).item<double>();
        flat.sub_(direction, 2 * step);
        const auto below = weighted_sum(network.forward(x)).item<double>();
        flat.add_(direction, step);
        const auto slope = (item.value().grad().view({-1}) * direction).sum().item<double>();
        EXPECT_NEAR((above - below) / (2 * step), slope, 1e-6 * (1 + std::abs(slope))) << what << " " << item.key();
    }
}

/// The same graph with the nodes of one set in another order.
inline graph::Graph permuted(const graph::Graph& graph, const std::string& set, const std::vector<int64_t>& order)
{
    auto out = graph;
    std::vector<int32_t> new_id(order.size());
    for (size_t n = 0; n < graph.nodes.size(); ++n)
        if (graph.nodes[n].name == set)
            for (size_t i = 0; i < order.size(); ++i) {
                new_id[size_t(order[i])] = int32_t(i);
                out.nodes[n].lat_rad[i] = graph.nodes[n].lat_rad[size_t(order[i])];
                out.nodes[n].lon_rad[i] = graph.nodes[n].lon_rad[size_t(order[i])];
            }
    for (auto& edges : out.edges) {
        if (edges.source == set)
            for (auto& id : edges.src)
                id = new_id[size_t(id)];
        if (edges.target == set)
            for (auto& id : edges.dst)
                id = new_id[size_t(id)];
    }
    return out;
}

} // namespace gradwind::test
