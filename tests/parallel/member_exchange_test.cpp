// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/member_exchange.h"

#include "gradwind/core/error.h"
#include "tests/support/ranks.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

namespace gradwind::parallel
{
namespace
{

/// Small whole numbers, exact in double.
at::Tensor numbers(int64_t seed, at::IntArrayRef shape)
{
    return (at::arange(at::empty(shape).numel(), at::kDouble) * 7 + double(3 * seed))
        .remainder(11)
        .sub(5)
        .reshape(shape);
}

GRADWIND_MULTIRANK_TEST(MemberExchange, BringsAllMembersToARangeOfTheGrid, RankCounts{1, 2, 3, 4})
{
    const MemberExchange exchange(world);
    // 7 points are cut into ranges of different lengths.
    const auto field = [](int rank) { return numbers(rank, {2, 3, 2, 7, 5}); };
    std::vector<at::Tensor> all;
    for (int rank = 0; rank < world.size(); ++rank)
        all.push_back(field(rank));
    const auto own = exchange.own_points(7);
    const auto x = field(world.rank()).requires_grad_(true);
    const auto y = exchange.all_members(x);
    EXPECT_TRUE(at::equal(y, at::cat(all, 2).narrow(3, own.begin, own.size)));
    const auto weights = numbers(50 + world.rank(), y.sizes());
    const auto gradient = torch::autograd::grad({y}, {x}, {weights})[0];
    const auto total = [&](const at::Tensor& a, const at::Tensor& b) {
        return world.sum(std::array{(a * b).sum().item<double>()}).front();
    };
    EXPECT_EQ(total(y.detach(), weights), total(x.detach(), gradient));
}

GRADWIND_MULTIRANK_TEST(MemberExchange, TooFewPointsAreRefused, RankCounts{2, 3})
{
    const MemberExchange exchange(world);
    EXPECT_THROW((void)exchange.all_members(at::zeros({1, 1, 1, 1, 2}, at::kDouble)), ShapeError);
}

} // namespace
} // namespace gradwind::parallel
