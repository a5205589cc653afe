// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/error.h"
#include "gradwind/model/rollout.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace gradwind::model
{
namespace
{

/// Data set a, f, b, d: input columns a, f, b; output columns a, b, d.
VariableTable table()
{
    return {{"a", "f", "b", "d"}, std::vector<std::string>{"f"}, std::vector<std::string>{"d"}};
}

/// batch[b, t, e, n, v] = 100 t + 10 n + v: every number says where it comes from.
at::Tensor numbered_batch(int64_t times)
{
    const auto t = at::arange(times, at::kDouble).reshape({1, times, 1, 1, 1}) * 100;
    const auto n = at::arange(3, at::kDouble).reshape({1, 1, 1, 3, 1}) * 10;
    return t + n + at::arange(4, at::kDouble).reshape({1, 1, 1, 1, 4});
}

TEST(Rollout, NewestStepHasPredictionAndForcingOfItsTime)
{
    const auto batch = numbered_batch(5);
    const auto x = first_input(batch, 3, table());
    EXPECT_EQ(x[0][2][0][1][2].item<double>(), 212);
    const auto y = at::full({1, 1, 1, 3, 3}, -1.0, at::kDouble);
    const auto next = advance_input(x, y, batch, 0, table());
    EXPECT_TRUE(at::equal(next.narrow(1, 0, 2), x.narrow(1, 1, 2)));
    EXPECT_EQ(next[0][2][0][1][0].item<double>(), -1);
    EXPECT_EQ(next[0][2][0][1][1].item<double>(), 311);
    EXPECT_EQ(next[0][2][0][1][2].item<double>(), -1);
}

TEST(Rollout, SeveralOutputStepsFillTheNewestSlotsInOrder)
{
    const auto batch = numbered_batch(8);
    const auto x = first_input(batch, 2, table());
    const auto y = at::arange(3, at::kDouble).reshape({1, 3, 1, 1, 1}).expand({1, 3, 1, 3, 3});
    const auto next = advance_input(x, y, batch, 1, table());
    for (int64_t slot = 0; slot < 2; ++slot) {
        EXPECT_EQ(next[0][slot][0][0][0].item<double>(), double(slot + 1));
        // Outputs of step 1 are the times 5, 6, 7 of the batch; the input takes the last two.
        EXPECT_EQ(next[0][slot][0][0][1].item<double>(), double(100 * (6 + slot) + 1));
    }
}

TEST(Rollout, NodesOutsideTheMaskGetTheTrueState)
{
    const auto batch = numbered_batch(3);
    const auto x = first_input(batch, 2, table());
    const auto y = at::full({1, 1, 1, 3, 3}, -1.0, at::kDouble);
    const auto next = advance_input(x, y, batch, 0, table(), at::tensor({1, 0, 1}, at::kByte).to(at::kBool));
    EXPECT_EQ(next[0][1][0][0][0].item<double>(), -1);
    EXPECT_EQ(next[0][1][0][1][0].item<double>(), 210);
    EXPECT_EQ(next[0][1][0][1][2].item<double>(), 212);
    EXPECT_EQ(next[0][1][0][2][2].item<double>(), -1);
}

TEST(Rollout, GradientsReachThePrognosticColumnsOnly)
{
    const auto batch = numbered_batch(3);
    auto y = at::zeros({1, 1, 1, 3, 3}, at::kDouble).requires_grad_(true);
    advance_input(first_input(batch, 2, table()), y, batch, 0, table()).sum().backward();
    EXPECT_TRUE(at::equal(y.grad()[0][0][0][0], at::tensor({1.0, 1.0, 0.0}, at::kDouble)));
}

TEST(Rollout, BatchThatIsTooShortIsRefused)
{
    const auto batch = numbered_batch(3);
    const auto x = first_input(batch, 2, table());
    const auto y = at::zeros({1, 1, 1, 3, 3}, at::kDouble);
    EXPECT_THROW((void)advance_input(x, y, batch, 1, table()), ShapeError);
    EXPECT_THROW((void)target_of(batch, 2, 1, 1), ShapeError);
    EXPECT_THROW((void)first_input(batch, 4, table()), ShapeError);
}

} // namespace
} // namespace gradwind::model
