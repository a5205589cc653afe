// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/ops/window_attention.h"

#include "gradwind/core/error.h"
#include "tests/support/gradients.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

namespace gradwind::ops
{
namespace
{

struct Operands {
    Operands(int64_t n_queries, int64_t n_keys, const WindowAttentionOptions& options, at::ScalarType dtype,
             int64_t width = 5)
    {
        at::manual_seed(4);
        const auto columns = options.heads * width;
        for (const auto n : {n_queries, n_keys, n_keys})
            leaves.push_back(at::randn({options.copies * n, columns}, at::kDouble).mul(1.5).to(dtype));
        for (auto& leaf : leaves)
            leaf.requires_grad_(true);
    }
    std::vector<at::Tensor> leaves;

    /// The result and the gradients of a weighted sum of it.
    [[nodiscard]] std::vector<at::Tensor> results(const at::Tensor& out)
    {
        for (auto& leaf : leaves)
            leaf.mutable_grad().reset();
        test::weighted_sum(out).backward();
        std::vector<at::Tensor> all = {out.detach()};
        for (const auto& leaf : leaves)
            all.push_back(leaf.grad().clone());
        return all;
    }
    [[nodiscard]] at::Tensor attend(const WindowAttentionOptions& options) const
    {
        return window_attention(leaves[0], leaves[1], leaves[2], options);
    }
};

/// Softmax over all pairs at once, as the definition says it.
at::Tensor by_definition(const Operands& operands, const WindowAttentionOptions& options)
{
    std::vector<at::Tensor> copies;
    const auto n_queries = operands.leaves[0].size(0) / options.copies;
    const auto n_keys = operands.leaves[1].size(0) / options.copies;
    const auto width = operands.leaves[0].size(1) / options.heads;
    const auto distance = (at::arange(n_queries).unsqueeze(1) + options.query_position - at::arange(n_keys)).abs();
    for (int64_t copy = 0; copy < options.copies; ++copy) {
        std::vector<at::Tensor> heads;
        for (int64_t head = 0; head < options.heads; ++head) {
            const auto part = [&](size_t i, int64_t n) {
                return operands.leaves[i].narrow(0, copy * n, n).narrow(1, head * width, width);
            };
            auto scores = at::mm(part(0, n_queries), part(1, n_keys).t()) / std::sqrt(double(width));
            if (options.softcap > 0)
                scores = options.softcap * at::tanh(scores / options.softcap);
            if (!options.slopes.empty())
                scores = scores - options.slopes[size_t(head)] * distance;
            if (options.window >= 0)
                scores = scores.masked_fill(distance > options.window, -INFINITY);
            heads.push_back(at::mm(at::nan_to_num(at::softmax(scores, 1)), part(2, n_keys)));
        }
        copies.push_back(at::cat(heads, 1));
    }
    return at::cat(copies, 0);
}

std::vector<WindowAttentionOptions> variants()
{
    return {{.heads = 2, .copies = 2},
            {.heads = 2, .copies = 2, .window = 0},
            {.heads = 3, .copies = 1, .window = 7},
            {.heads = 1, .copies = 2, .window = 70},
            {.heads = 2, .copies = 1, .window = 20, .query_position = 33},
            {.heads = 2, .copies = 1, .window = 40, .softcap = 1.5},
            {.heads = 3, .copies = 2, .window = 100, .slopes = alibi_slopes(3)},
            {.heads = 2, .copies = 1, .softcap = 2.5, .slopes = alibi_slopes(2)}};
}

void expect_near(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b, double relative)
{
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i)
        EXPECT_LE((a[i] - b[i]).abs().max().item<double>(), relative * b[i].abs().max().item<double>())
            << "tensor " << i;
}

TEST(WindowAttention, IsTheSoftmaxOverTheWindow)
{
    for (const auto& options : variants())
        for (const auto dtype : {at::kDouble, at::kFloat}) {
            SCOPED_TRACE(testing::Message() << "window " << options.window << ", softcap " << options.softcap);
            Operands operands(150, 150, options, dtype);
            const auto expected = operands.results(by_definition(operands, options));
            const auto tolerance = dtype == at::kDouble ? 1e-13 : 4e-6;
            expect_near(operands.results(operands.attend(options)), expected, tolerance);
            const auto& leaves = operands.leaves;
            expect_near(operands.results(window_attention_by_torch(leaves[0], leaves[1], leaves[2], options)), expected,
                        tolerance);
        }
}

TEST(WindowAttention, BetweenNodeSetsOfAnySize)
{
    for (const auto& [n_queries, n_keys] : std::vector<std::pair<int64_t, int64_t>>{{3, 130}, {130, 3}, {64, 65}})
        for (const int64_t window : {-1, 2}) {
            const WindowAttentionOptions options{.heads = 2, .copies = 2, .window = window};
            Operands operands(n_queries, n_keys, options, at::kDouble, 33);
            expect_near(operands.results(operands.attend(options)), operands.results(by_definition(operands, options)),
                        1e-13);
        }
}

TEST(WindowAttention, AQueryWithoutKeysGivesZero)
{
    const WindowAttentionOptions options{.heads = 1, .copies = 1, .window = 1};
    Operands operands(9, 3, options, at::kDouble);
    const auto results = operands.results(operands.attend(options));
    EXPECT_GT(results[0].narrow(0, 0, 4).abs().min().item<double>(), 0);
    EXPECT_EQ(results[0].narrow(0, 4, 5).abs().max().item<double>(), 0);
    for (size_t i = 1; i < results.size(); ++i)
        EXPECT_TRUE(at::isfinite(results[i]).all().item<bool>());
}

TEST(WindowAttention, WithoutQueriesOrKeysBackwardStillReachesAllOperands)
{
    for (const int64_t window : {-1, 3})
        for (const auto& [n_queries, n_keys] : std::vector<std::pair<int64_t, int64_t>>{{0, 5}, {5, 0}, {0, 0}}) {
            WindowAttentionOptions options{.heads = 2, .copies = 2, .window = window};
            Operands operands(n_queries, n_keys, options, at::kDouble);
            auto& leaves = operands.leaves;
            const auto out = window_attention(leaves[0], leaves[1], leaves[2], options);
            EXPECT_TRUE(at::equal(out, at::zeros_like(leaves[0])));
            out.sum().backward();
            for (const auto& leaf : leaves)
                EXPECT_TRUE(leaf.grad().defined() && leaf.grad().abs().sum().item<double>() == 0);
        }
}

TEST(WindowAttention, GradientsAgreeWithFiniteDifferences)
{
    for (const auto& options : variants()) {
        const Operands operands(80, 90, options, at::kDouble);
        test::expect_true_gradients([&] { return test::weighted_sum(operands.attend(options)); }, operands.leaves);
    }
}

TEST(WindowAttention, ThreadsChangeNoBit)
{
    const auto threads = at::get_num_threads();
    for (const auto dtype : {at::kDouble, at::kFloat}) {
        const WindowAttentionOptions options{.heads = 3, .copies = 2, .window = 50};
        Operands operands(200, 200, options, dtype, 16);
        at::set_num_threads(1);
        const auto one = operands.results(operands.attend(options));
        at::set_num_threads(5);
        const auto five = operands.results(operands.attend(options));
        at::set_num_threads(threads);
        for (size_t i = 0; i < one.size(); ++i)
            EXPECT_TRUE(at::equal(one[i], five[i])) << "tensor " << i;
    }
}

TEST(WindowAttention, LargeScoresDoNotOverflow)
{
    const WindowAttentionOptions options{.heads = 1, .copies = 1, .window = 90};
    Operands operands(150, 150, options, at::kFloat);
    for (auto& leaf : operands.leaves)
        leaf.detach().mul_(40);
    expect_near(operands.results(operands.attend(options)), operands.results(by_definition(operands, options)), 2e-4);
}

TEST(WindowAttention, SlopesAreThoseOfLinearBiases)
{
    EXPECT_EQ(alibi_slopes(8).front(), 0.5);
    EXPECT_EQ(alibi_slopes(8).back(), 1.0 / 256);
    const auto six = alibi_slopes(6);
    EXPECT_EQ(six, (std::vector<double>{0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125}));
}

TEST(WindowAttention, OperandsThatDoNotFitAreRefused)
{
    const auto x = at::zeros({6, 4});
    EXPECT_THROW((void)window_attention(x, x, x, {.heads = 3}), ShapeError);
    EXPECT_THROW((void)window_attention(x, x, x, {.heads = 2, .copies = 4}), ShapeError);
    EXPECT_THROW((void)window_attention(x, at::zeros({6, 2}), at::zeros({6, 2}), {.heads = 2}), ShapeError);
    EXPECT_THROW((void)window_attention(x, x, x, {.heads = 2, .slopes = {1}}), ShapeError);
}

} // namespace
} // namespace gradwind::ops
