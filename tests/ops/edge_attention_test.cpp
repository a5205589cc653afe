// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Attention along edges against its definition, destination by destination.
#include "gradwind/ops/edge_attention.h"

#include "gradwind/core/error.h"
#include "gradwind/ops/edge_attention_impl.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

namespace gradwind::ops
{

namespace
{

using Tensors = std::vector<at::Tensor>;
using Attention = at::Tensor (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&, const EdgeTerm&,
                                 const EdgeIndex&);

constexpr int64_t kSources = 40, kDestinations = 70;

/// Destinations with 0 to 44 edges, two edges between the same nodes, sources without any.
EdgeIndex edges()
{
    std::vector<int64_t> src, dst;
    for (int64_t d = 0; d < kDestinations; ++d)
        for (int64_t k = 0; k < (d == 2 || d == 69 ? 0 : d == 5 ? 44 : 1 + d % 7); ++k) {
            src.push_back((11 * k + d) % 37);
            dst.push_back(d);
        }
    return make_edge_index(src, dst, kSources, kDestinations);
}

struct Shape {
    int64_t heads, depth, features;
};
/// Heads that fill no vector, one or several; depths and features with and without a remainder.
constexpr Shape kShapes[] = {{1, 5, 3},   {2, 8, 11},  {3, 8, 11}, {4, 4, 4}, {5, 6, 11},
                             {16, 8, 11}, {17, 3, 19}, {9, 1, 1},  {16, 8, 0}};

struct Case {
    EdgeIndex index = edges();
    Tensors leaves; ///< q, k, v, features, weight, bias

    Case(const Shape& shape, at::ScalarType type)
    {
        at::manual_seed(3);
        const auto leaf = [&](at::IntArrayRef sizes, double scale) {
            leaves.push_back((at::randn(sizes, at::kDouble) * scale).to(type).requires_grad_(true));
        };
        const auto width = shape.heads * shape.depth;
        leaf({kDestinations, shape.heads, shape.depth}, 2);
        leaf({kSources, shape.heads, shape.depth}, 1);
        leaf({kSources, shape.heads, shape.depth}, 1);
        leaf({index.n_edges(), shape.features}, 1);
        leaf({width, shape.features}, 0.5);
        leaf({width}, 1);
    }

    /// The same numbers.
    [[nodiscard]] Case as(at::ScalarType type) const
    {
        Case result = *this;
        for (auto& leaf : result.leaves)
            leaf = leaf.detach().to(type).requires_grad_(true);
        return result;
    }

    [[nodiscard]] at::Tensor by(Attention attention) const
    {
        return attention(leaves[0], leaves[1], leaves[2], {leaves[3], leaves[4], leaves[5]}, index);
    }
};

at::Tensor definition(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const EdgeTerm& term,
                      const EdgeIndex& edges)
{
    const auto heads = q.size(1), depth = q.size(2);
    const auto e = at::linear(term.features, term.weight, term.bias).view({-1, heads, depth});
    const auto keys = k.index_select(0, edges.src) + e, values = v.index_select(0, edges.src) + e;
    Tensors rows;
    for (int64_t i = 0; i < edges.n_dst; ++i) {
        const auto begin = edges.dst_ptr[i].item<int64_t>(), end = edges.dst_ptr[i + 1].item<int64_t>();
        const auto own = [&](const at::Tensor& x) { return x.slice(0, begin, end).transpose(0, 1); };
        if (begin == end) {
            rows.push_back(at::zeros({heads, depth}, q.options()));
            continue;
        }
        const auto scores = at::matmul(own(keys), q[i].unsqueeze(2)).squeeze(2) / std::sqrt(double(depth));
        rows.push_back(at::matmul(at::softmax(scores, 1).unsqueeze(1), own(values)).squeeze(1));
    }
    return at::stack(rows).view({edges.n_dst, heads * depth});
}

/// Another weight for every element.
at::Tensor all_different(const at::Tensor& y)
{
    return at::arange(y.numel(), at::kDouble).cos().view_as(y).to(y.device(), y.scalar_type());
}

/// The result and the gradients of a sum that weighs all of it differently.
Tensors results(const Case& given, Attention attention)
{
    for (const auto& leaf : given.leaves)
        const_cast<at::Tensor&>(leaf).mutable_grad().reset();
    const auto y = given.by(attention);
    (y * all_different(y)).sum().backward();
    Tensors out = {y.detach()};
    for (const auto& leaf : given.leaves)
        out.push_back(leaf.grad().defined() ? leaf.grad().clone() : at::zeros_like(leaf));
    return out;
}

void expect_near(const Tensors& a, const Tensors& b, double relative, const std::string& what)
{
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i)
        EXPECT_LE((a[i] - b[i]).norm().item<double>(), relative * b[i].norm().item<double>())
            << what << ", tensor " << i;
}

std::string name(const Shape& shape)
{
    return fmt::format("{} heads of {}, {} features", shape.heads, shape.depth, shape.features);
}

} // namespace

TEST(EdgeAttention, EqualsItsDefinition)
{
    for (const auto& shape : kShapes) {
        const Case exact(shape, at::kDouble), single(shape, at::kFloat);
        const auto expected = results(exact, definition);
        expect_near(results(exact, edge_attention), expected, 1e-13, name(shape));
        expect_near(results(exact, detail::edge_attention_by_torch), expected, 1e-13, name(shape) + " by torch");
        // The bias of e has no part in the scores: rounded, they would add to its gradient in the definition, too.
        expect_near(results(single, edge_attention), results(single.as(at::kDouble), definition), 1e-5,
                    name(shape) + " in float32");
    }
}

TEST(EdgeAttention, GradientsAgreeWithFiniteDifferences)
{
    constexpr double step = 1e-6;
    for (const auto& shape : {Shape{3, 7, 5}, Shape{16, 2, 11}}) {
        const Case given(shape, at::kDouble);
        const auto gradients = results(given, edge_attention);
        const auto value = [&] {
            const auto y = given.by(edge_attention);
            return (y * all_different(y)).sum().item<double>();
        };
        const at::NoGradGuard no_gradients;
        for (size_t i = 0; i < given.leaves.size(); ++i) {
            auto leaf = given.leaves[i];
            const auto direction = at::randn_like(leaf);
            leaf.add_(direction, step);
            const auto above = value();
            leaf.sub_(direction, 2 * step);
            const auto below = value();
            leaf.add_(direction, step);
            const auto slope = (gradients[i + 1] * direction).sum().item<double>();
            EXPECT_NEAR((above - below) / (2 * step), slope, 1e-7 * (1 + std::abs(slope)))
                << name(shape) << ", operand " << i;
        }
    }
}

TEST(EdgeAttention, ThreadsChangeNoBit)
{
    const auto threads = at::get_num_threads();
    for (const auto& shape : {Shape{16, 8, 11}, Shape{3, 5, 2}}) {
        const Case given(shape, at::kFloat);
        at::set_num_threads(1);
        const auto one = results(given, edge_attention);
        at::set_num_threads(5);
        const auto five = results(given, edge_attention);
        at::set_num_threads(threads);
        for (size_t i = 0; i < one.size(); ++i)
            EXPECT_TRUE(at::equal(one[i], five[i])) << name(shape) << ", tensor " << i;
    }
}

TEST(EdgeAttention, NothingComesToADestinationWithoutEdgesOrFromASourceWithout)
{
    const Case given({5, 6, 11}, at::kDouble);
    const auto all = results(given, edge_attention);
    for (const int64_t empty : {2, 69}) {
        EXPECT_EQ(all[0][empty].abs().sum().item<double>(), 0);
        EXPECT_EQ(all[1][empty].abs().sum().item<double>(), 0);
    }
    for (const size_t operand : {2, 3})
        EXPECT_EQ(all[operand].slice(0, 37).abs().sum().item<double>(), 0);
    EXPECT_GT(all[2][36].abs().sum().item<double>(), 0);
}

TEST(EdgeAttention, WithoutAnyEdgeIsZero)
{
    const auto index = make_edge_index(std::vector<int64_t>{}, std::vector<int64_t>{}, 4, 3);
    const auto leaf = [](at::IntArrayRef sizes) { return at::randn(sizes, at::kDouble).requires_grad_(true); };
    const auto q = leaf({3, 2, 4}), k = leaf({4, 2, 4}), weight = leaf({8, 5});
    const auto y = edge_attention(q, k, k, {leaf({0, 5}), weight, leaf({8})}, index);
    y.sum().backward();
    EXPECT_EQ(y.abs().sum().item<double>(), 0);
    EXPECT_EQ(q.grad().abs().sum().item<double>(), 0);
    EXPECT_EQ(k.grad().abs().sum().item<double>(), 0);
    EXPECT_EQ(weight.grad().abs().sum().item<double>(), 0);
    const auto by_torch = detail::edge_attention_by_torch(q, k, k, {leaf({0, 5}), weight, leaf({8})}, index);
    EXPECT_TRUE(at::equal(by_torch, at::zeros({3, 8}, at::kDouble)));
}

TEST(EdgeAttention, RowsMayBeApart)
{
    const Case given({3, 8, 11}, at::kDouble);
    const auto expected = results(given, edge_attention);
    // Key and value as columns of one tensor, the query with its heads in another order in memory.
    auto apart = given;
    const auto both = at::cat({given.leaves[1].view({kSources, 24}), given.leaves[2].view({kSources, 24})}, 1).detach();
    const auto leaf = both.clone().requires_grad_(true);
    apart.leaves[0] = given.leaves[0].detach().transpose(0, 1).contiguous().transpose(0, 1).requires_grad_(true);
    const auto part = [&](int64_t i) { return leaf.narrow(1, 24 * i, 24).view({kSources, 3, 8}); };
    const auto y = edge_attention(apart.leaves[0], part(0), part(1),
                                  {given.leaves[3], given.leaves[4], given.leaves[5]}, given.index);
    (y * all_different(y)).sum().backward();
    EXPECT_TRUE(at::equal(y, expected[0]));
    EXPECT_TRUE(at::equal(apart.leaves[0].grad(), expected[1]));
    EXPECT_TRUE(at::equal(leaf.grad().narrow(1, 24, 24).reshape({kSources, 3, 8}), expected[3]));
}

TEST(EdgeAttention, LargeScoresNeitherOverflowNorHideNan)
{
    auto given = Case({16, 8, 11}, at::kFloat);
    given.leaves[0] = given.leaves[0].detach() * 1e4;
    const auto y = edge_attention(given.leaves[0], given.leaves[1], given.leaves[2],
                                  {given.leaves[3], given.leaves[4], given.leaves[5]}, given.index);
    EXPECT_TRUE(at::isfinite(y).all().item<bool>());
    EXPECT_LE((y - given.by(definition)).abs().max().item<double>(), 1e-2);
    given.leaves[1] = given.leaves[1].detach().clone();
    given.leaves[1][0].fill_(std::nan(""));
    const auto reached = given.by(edge_attention).isnan().any(1);
    EXPECT_TRUE(reached.index_select(0, given.index.dst.index({given.index.src == 0})).all().item<bool>());
    EXPECT_FALSE(reached.all().item<bool>());
}

TEST(EdgeAttention, HalfPrecisionIsComputedInSingle)
{
    const Case half({4, 8, 11}, at::kBFloat16);
    const auto expected =
        half.by([](const auto& q, const auto& k, const auto& v, const EdgeTerm& e, const auto& edges) {
            const auto wide = [](const at::Tensor& x) { return x.to(at::kFloat); };
            return edge_attention(wide(q), wide(k), wide(v), {wide(e.features), wide(e.weight), wide(e.bias)}, edges)
                .to(at::kBFloat16);
        });
    EXPECT_TRUE(at::equal(half.by(edge_attention), expected));
    expect_near({half.by(detail::edge_attention_by_torch).to(at::kFloat)}, {expected.to(at::kFloat)}, 0x1p-6, "torch");
    EXPECT_EQ(results(half, edge_attention)[4].scalar_type(), at::kBFloat16);
}

TEST(EdgeAttention, ShapesThatDoNotFitAreRefused)
{
    const Case given({4, 4, 4}, at::kDouble);
    const auto refused = [&](size_t operand, at::IntArrayRef sizes) {
        auto other = given;
        other.leaves[operand] = at::zeros(sizes, at::kDouble);
        EXPECT_THROW((void)other.by(edge_attention), ShapeError) << "operand " << operand;
    };
    refused(0, {kDestinations - 1, 4, 4});
    refused(0, {kDestinations, 16});
    refused(1, {kSources, 4, 5});
    refused(2, {kDestinations, 4, 4});
    refused(3, {given.index.n_edges() - 1, 4});
    refused(4, {16, 5});
    refused(5, {15});
}

} // namespace gradwind::ops
