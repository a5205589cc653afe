// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Gradients against finite differences.
#pragma once
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <functional>
#include <vector>

namespace gradwind::test
{

/// A scalar that weighs every element differently.
inline at::Tensor weighted_sum(const at::Tensor& y)
{
    return (y * at::arange(y.numel(), y.options()).reshape(y.sizes()).cos()).sum();
}

/// Holds the gradient of `value` for each of the leaves to central differences along a random direction.
///
/// @param value of the leaves, in float64 @param relative allowed error over 1 + |slope|
inline void expect_true_gradients(const std::function<at::Tensor()>& value, std::vector<at::Tensor> leaves,
                                  double relative = 1e-7)
{
    constexpr double step = 1e-5;
    for (auto& leaf : leaves)
        leaf.mutable_grad().reset();
    value().backward();
    for (size_t i = 0; i < leaves.size(); ++i) {
        ASSERT_TRUE(leaves[i].grad().defined()) << "leaf " << i;
        const at::NoGradGuard no_gradients;
        const auto direction = at::randn_like(leaves[i]);
        leaves[i].add_(direction, step);
        const auto above = value().item<double>();
        leaves[i].sub_(direction, 2 * step);
        const auto below = value().item<double>();
        leaves[i].add_(direction, step);
        const auto slope = (leaves[i].grad() * direction).sum().item<double>();
        EXPECT_NEAR((above - below) / (2 * step), slope, relative * (1 + std::abs(slope))) << "leaf " << i;
    }
}

} // namespace gradwind::test
