// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/ops/linear.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

namespace
{

using namespace gradwind;
using Tensors = std::vector<at::Tensor>;

at::Tensor drawn(at::IntArrayRef shape)
{
    return at::randn(shape, at::kDouble).requires_grad_();
}

/// Gradients of a weighted sum of the values.
Tensors gradients(const Tensors& values, const Tensors& inputs)
{
    at::Tensor sum = at::zeros({}, at::kDouble);
    for (size_t i = 0; i < values.size(); ++i)
        sum = sum +
              (values[i] * at::arange(values[i].numel(), at::kDouble).view(values[i].sizes())).sum() * double(i + 1);
    return torch::autograd::grad({sum}, inputs);
}

TEST(Linear, SeveralMapsOfTheSameRowsAreWhatEachIsAlone)
{
    at::manual_seed(1);
    const auto x = drawn({2, 7, 5}), first = drawn({3, 5}), second = drawn({4, 5}), b = drawn({3}), c = drawn({4});
    const Tensors inputs = {x, first, second, b, c};
    const auto found = ops::linear(x, {{first, b}, {second, c}});
    const Tensors expected = {at::linear(x, first, b), at::linear(x, second, c)};
    ASSERT_EQ(found.size(), 2U);
    for (size_t i = 0; i < 2; ++i)
        EXPECT_TRUE(at::allclose(found[i], expected[i], 1e-13, 1e-13)) << i;
    const auto of_found = gradients(found, inputs), of_expected = gradients(expected, inputs);
    for (size_t i = 0; i < inputs.size(); ++i)
        EXPECT_TRUE(at::allclose(of_found[i], of_expected[i], 1e-12, 1e-12)) << i;
}

TEST(Linear, WithoutBias)
{
    const auto x = drawn({6, 5}), first = drawn({3, 5}), second = drawn({2, 5});
    EXPECT_TRUE(at::equal(ops::linear(x, {{first, {}}})[0], at::linear(x, first)));
    const auto both = ops::linear(x, {{first, {}}, {second, {}}});
    EXPECT_TRUE(at::allclose(both[1], at::linear(x, second), 1e-13, 1e-13));
}

} // namespace
