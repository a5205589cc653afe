// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Perceptrons by blocks of rows against the same written in torch's operations.
#include "gradwind/core/error.h"
#include "gradwind/ops/row_mlp.h"
#include "gradwind/ops/segment.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

namespace gradwind::ops
{

namespace
{

using Tensors = std::vector<at::Tensor>;

/// 40 sources and 9 destinations: one without edges, one with more than a block of rows has.
EdgeIndex edges()
{
    std::vector<int64_t> src, dst;
    for (int64_t d = 0; d < 9; ++d)
        for (int64_t k = 0; k < (d == 2 ? 0 : d == 5 ? 301 : 30 + 7 * d); ++k) {
            src.push_back((11 * k + d) % 40);
            dst.push_back(d);
        }
    return make_edge_index(src, dst, 40, 9);
}

struct Message {
    EdgeIndex index = edges();
    Tensors leaves; ///< x_dst, x_src, e, then weights, biases and the norm
    RowMlpWeights weights;

    /// Widths that fill no vector of any instruction set.
    Message(at::ScalarType type, int64_t width = 21, int64_t hidden = 37)
    {
        at::manual_seed(3);
        const auto leaf = [&](at::IntArrayRef shape, double scale) {
            auto tensor = (at::randn(shape, at::kDouble) * scale).to(type).requires_grad_(true);
            leaves.push_back(tensor);
            return tensor;
        };
        leaf({9, 13}, 1);
        leaf({40, 17}, 1);
        leaf({index.n_edges(), width}, 1);
        const std::vector<std::pair<int64_t, int64_t>> shapes = {
            {hidden, 30 + width}, {hidden, hidden}, {width, hidden}};
        for (const auto& [out, in] : shapes) {
            weights.weights.push_back(leaf({out, in}, 1 / std::sqrt(double(in))));
            weights.biases.push_back(leaf({out}, 0.1));
        }
        weights.norm_weight = leaf({width}, 1);
        weights.norm_bias = leaf({width}, 1);
    }

    [[nodiscard]] RowMlpResult by_rows() const
    {
        using At = RowMlpOperand::At;
        return row_mlp(weights, {{leaves[0], At::Destination}, {leaves[1], At::Source}, {leaves[2]}},
                       {&index, 2, RowMlpOptions::Sums::AtDestination});
    }

    [[nodiscard]] RowMlpResult plain() const
    {
        auto x = at::cat({leaves[0].index_select(0, index.dst), leaves[1].index_select(0, index.src), leaves[2]}, 1);
        for (size_t l = 0; l < 3; ++l)
            x = at::linear(l == 0 ? x : at::gelu(x), weights.weights[l], weights.biases[l]);
        const auto rows =
            at::layer_norm(x, {x.size(1)}, weights.norm_weight, weights.norm_bias, weights.epsilon) + leaves[2];
        return {rows, at::zeros({9, rows.size(1)}, rows.options()).index_add(0, index.dst, rows)};
    }

    /// Rows, sums and the gradients of a weighted sum of both.
    [[nodiscard]] Tensors results(const RowMlpResult& result) const
    {
        for (const auto& tensor : leaves)
            const_cast<at::Tensor&>(tensor).mutable_grad().reset();
        const auto ramp = [](const at::Tensor& x) { return at::linspace(-1, 1, x.numel(), x.options()).view_as(x); };
        ((result.rows * ramp(result.rows)).sum() + (result.sums * ramp(result.sums)).sum()).backward();
        Tensors out = {result.rows.detach(), result.sums.detach()};
        for (const auto& tensor : leaves)
            out.push_back(tensor.grad().clone());
        return out;
    }
};

void expect_near(const Tensors& a, const Tensors& b, double relative)
{
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i)
        EXPECT_LE((a[i] - b[i]).abs().max().item<double>(), relative * b[i].abs().max().item<double>())
            << "tensor " << i;
}

} // namespace

TEST(RowMlp, EqualsTorchsOperations)
{
    const Message exact(at::kDouble), single(at::kFloat);
    expect_near(exact.results(exact.by_rows()), exact.results(exact.plain()), 1e-13);
    expect_near(single.results(single.by_rows()), single.results(single.plain()), 3e-6);
}

TEST(RowMlp, OfNodesWithoutNormOrResidual)
{
    at::manual_seed(5);
    const auto leaf = [](at::IntArrayRef shape) { return at::randn(shape, at::kDouble).requires_grad_(true); };
    const auto x = leaf({300, 5}), y = leaf({300, 3}), weight = leaf({4, 8}), bias = leaf({4});
    const auto of = [&](const at::Tensor& result) {
        for (const auto& tensor : {x, y, weight, bias})
            const_cast<at::Tensor&>(tensor).mutable_grad().reset();
        result.square().sum().backward();
        return Tensors{result.detach(), x.grad().clone(), y.grad().clone(), weight.grad().clone(), bias.grad().clone()};
    };
    expect_near(
        of(row_mlp({.weights = {weight}, .biases = {bias}, .norm_weight = {}, .norm_bias = {}}, {{x}, {y}}).rows),
        of(at::linear(at::cat({x, y}, 1), weight, bias)), 1e-14);
}

TEST(RowMlp, EachResultAloneHasItsGradients)
{
    const Message message(at::kDouble);
    const auto gradient = [&](const at::Tensor& result) {
        message.leaves[2].mutable_grad().reset();
        result.square().sum().backward();
        return Tensors{message.leaves[2].grad().clone()};
    };
    expect_near(gradient(message.by_rows().rows), gradient(message.plain().rows), 1e-13);
    expect_near(gradient(message.by_rows().sums), gradient(message.plain().sums), 1e-13);
}

TEST(RowMlp, SourcesMayArriveUntilTheyAreRead)
{
    using At = RowMlpOperand::At;
    const Message message(at::kDouble);
    const auto expected = message.by_rows();
    const auto late = at::full({40, 17}, std::nan(""), at::kDouble);
    int64_t calls = 0;
    const auto arrive = [&] {
        ++calls;
        late.copy_(message.leaves[1].detach());
    };
    const auto result = row_mlp(
        message.weights,
        {{message.leaves[0], At::Destination}, {late.variable_data(), At::Source}, {message.leaves[2]}},
        {.edges = &message.index, .residual = 2, .sums = RowMlpOptions::Sums::AtDestination, .before_sources = arrive});
    EXPECT_TRUE(at::equal(result.rows, expected.rows));
    EXPECT_TRUE(at::equal(result.sums, expected.sums));
    (result.rows.sum() + result.sums.sum()).backward();
    EXPECT_EQ(calls, 1);
}

TEST(RowMlp, ThreadsChangeNoBit)
{
    const auto threads = at::get_num_threads();
    const Message message(at::kFloat, 32, 64);
    at::set_num_threads(1);
    const auto one = message.results(message.by_rows());
    at::set_num_threads(5);
    const auto five = message.results(message.by_rows());
    at::set_num_threads(threads);
    for (size_t i = 0; i < one.size(); ++i)
        EXPECT_TRUE(at::equal(one[i], five[i])) << "tensor " << i;
}

TEST(RowMlp, GeluIsExactOverItsRange)
{
    // The identity around the activation shows its values and slopes.
    const auto eye = at::eye(1).requires_grad_(false);
    const RowMlpWeights weights{{eye, eye}, {at::zeros({1}), at::zeros({1})}, {}, {}};
    const auto x = at::linspace(-20, 20, 400001).view({-1, 1}).requires_grad_(true);
    const auto y = row_mlp(weights, {{x}}).rows;
    y.sum().backward();
    const auto wide = x.detach().to(at::kDouble).requires_grad_(true);
    const auto expected = at::gelu(wide);
    expected.sum().backward();
    const auto size = at::clamp_min(wide.detach().abs(), 1);
    EXPECT_LE(((y - expected).abs() / size).max().item<double>(), 1.2e-7);
    EXPECT_LE((x.grad() - wide.grad()).abs().max().item<double>(), 2.5e-7);
    EXPECT_TRUE(at::isnan(row_mlp(weights, {{at::full({1, 1}, std::nan(""))}}).rows).all().item<bool>());
}

TEST(RowMlp, WeightsOfAnotherWidthAreRefused)
{
    const RowMlpWeights weights{{at::zeros({2, 3})}, {at::zeros({2})}, {}, {}};
    EXPECT_THROW((void)row_mlp(weights, {{at::zeros({4, 5})}}), ShapeError);
    EXPECT_THROW((void)row_mlp(weights, {{at::zeros({4, 2})}, {at::zeros({5, 1})}}), ShapeError);
}

} // namespace gradwind::ops
