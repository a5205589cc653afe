// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/error.h"
#include "gradwind/ops/segment.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

namespace gradwind::ops
{
namespace
{

/// Nodes 1 and 4 receive nothing, source 2 sends nothing, source 0 sends twice to node 3.
EdgeIndex example()
{
    const std::vector<int64_t> src = {3, 0, 1, 0, 3, 0, 4};
    const std::vector<int64_t> dst = {0, 0, 2, 3, 3, 3, 5};
    return make_edge_index(src, dst, 5, 6);
}

at::Tensor integers(int64_t rows, int64_t columns)
{
    return at::randint(-50, 50, {rows, columns}, at::kDouble);
}

TEST(EdgeIndex, ReverseListsEveryEdgeOnceBySource)
{
    const auto edges = example();
    EXPECT_TRUE(at::equal(edges.dst_ptr, at::tensor({0, 2, 2, 3, 6, 6, 7}, at::kLong)));
    EXPECT_TRUE(at::equal(edges.src_ptr, at::tensor({0, 3, 4, 4, 6, 7}, at::kLong)));
    EXPECT_TRUE(at::equal(edges.by_src, at::tensor({1, 3, 5, 2, 0, 4, 6}, at::kLong)));
}

TEST(EdgeIndex, OrderByDestinationIsStable)
{
    const std::vector<int32_t> dst = {2, 0, 2, 1, 0};
    EXPECT_EQ(order_by_destination(dst, 3), (std::vector<int64_t>{1, 4, 3, 0, 2}));
    EXPECT_THROW((void)order_by_destination(dst, 2), ShapeError);
}

TEST(EdgeIndex, BadEdgesAreRefused)
{
    const std::vector<int64_t> a = {0, 1}, down = {1, 0}, three = {0, 0, 0};
    EXPECT_THROW((void)make_edge_index(a, down, 2, 2), ShapeError);
    EXPECT_THROW((void)make_edge_index(a, three, 2, 2), ShapeError);
    EXPECT_THROW((void)make_edge_index(a, a, 1, 2), ShapeError);
    EXPECT_THROW((void)make_edge_index(a, a, 2, 1), ShapeError);
}

TEST(EdgeIndex, CopiesEqualTheGraphMadeOfCopies)
{
    const std::vector<int64_t> src = {3, 0, 1, 0, 3, 0, 4, 8, 5, 6, 5, 8, 5, 9};
    const std::vector<int64_t> dst = {0, 0, 2, 3, 3, 3, 5, 6, 6, 8, 9, 9, 9, 11};
    const auto expected = make_edge_index(src, dst, 10, 12);
    const auto twice = repeat(example(), 2);
    for (const auto member :
         {&EdgeIndex::src, &EdgeIndex::dst, &EdgeIndex::dst_ptr, &EdgeIndex::by_src, &EdgeIndex::src_ptr})
        EXPECT_TRUE(at::equal(twice.*member, expected.*member));
    EXPECT_EQ(twice.n_src, 10);
    EXPECT_EQ(twice.n_dst, 12);
}

TEST(EdgeIndex, ChunksNeverPartADestination)
{
    const auto edges = example();
    for (const int64_t n : {1, 2, 3, 4, 20}) {
        const auto bounds = chunk_bounds(edges, n);
        EXPECT_EQ(bounds.front(), 0);
        EXPECT_EQ(bounds.back(), edges.n_edges());
        EXPECT_LE(int64_t(bounds.size()), n + 1);
        for (size_t i = 1; i + 1 < bounds.size(); ++i)
            EXPECT_NE(edges.dst[bounds[i] - 1].item<int64_t>(), edges.dst[bounds[i]].item<int64_t>());
    }
}

TEST(Segment, ForwardValues)
{
    const auto edges = example();
    const auto nodes = integers(5, 3);
    const auto rows = gather_source(nodes, edges);
    EXPECT_TRUE(at::equal(rows, nodes.index_select(0, edges.src)));
    const auto sums = sum_at_destination(rows, edges);
    EXPECT_TRUE(at::equal(sums[0], nodes[3] + nodes[0]));
    EXPECT_TRUE(at::equal(sums[3], nodes[0] * 2 + nodes[3]));
    EXPECT_TRUE(at::equal(sums[1], at::zeros({3}, at::kDouble)));
    EXPECT_TRUE(at::equal(sums[5], nodes[4]));
}

TEST(Segment, AdjointsAreExactOnIntegers)
{
    const auto edges = example();
    struct Case {
        int64_t rows_in, rows_out;
        at::Tensor (*apply)(const at::Tensor&, const EdgeIndex&);
    };
    for (const auto& [rows_in, rows_out, apply] :
         {Case{5, 7, gather_source}, Case{6, 7, gather_destination}, Case{7, 6, sum_at_destination}}) {
        auto x = integers(rows_in, 4).requires_grad_(true);
        const auto g = integers(rows_out, 4);
        const auto y = apply(x, edges);
        const auto back = torch::autograd::grad({y}, {x}, {g})[0];
        EXPECT_EQ((y * g).sum().item<double>(), (x * back).sum().item<double>());
    }
}

TEST(Segment, PickedRowsSendTheirGradientBack)
{
    const auto x = integers(5, 3).set_requires_grad(true), gradient = integers(3, 3);
    const auto rows = at::tensor({4, 0, 3}, at::kLong);
    const auto picked = pick_rows(x, rows);
    EXPECT_TRUE(at::equal(picked, x.index_select(0, rows)));
    const auto back = torch::autograd::grad({picked}, {x}, {gradient})[0];
    const auto expected =
        at::stack({gradient[1], at::zeros({3}, at::kDouble), at::zeros({3}, at::kDouble), gradient[2], gradient[0]});
    EXPECT_TRUE(at::equal(back, expected));
}

TEST(Segment, SumsHaveTheSameBitsForAnyNumberOfThreads)
{
    std::vector<int64_t> src, dst;
    for (int64_t i = 0; i < 20000; ++i) {
        src.push_back((i * 7919) % 900);
        dst.push_back(i / 20);
    }
    const auto edges = make_edge_index(src, dst, 900, 1000);
    const auto rows = at::randn({20000, 16});
    const auto threads = at::get_num_threads();
    at::set_num_threads(1);
    const auto one = segment_sum(rows, edges.src_ptr, edges.by_src, edges.src);
    for (const int n : {2, 3, 4}) {
        at::set_num_threads(n);
        EXPECT_TRUE(at::equal(one, segment_sum(rows, edges.src_ptr, edges.by_src, edges.src)));
    }
    at::set_num_threads(threads);
    EXPECT_LT((one - at::zeros({900, 16}).index_add_(0, edges.src, rows)).abs().max().item<double>(), 1e-4);
}

TEST(Segment, WrongNumberOfRowsIsRefused)
{
    const auto edges = example();
    EXPECT_THROW((void)gather_source(at::zeros({6, 2}), edges), ShapeError);
    EXPECT_THROW((void)gather_destination(at::zeros({5, 2}), edges), ShapeError);
    EXPECT_THROW((void)sum_at_destination(at::zeros({6, 2}), edges), ShapeError);
}

TEST(SliceDestinations, CoverAllEdgesAndNameTheirSources)
{
    const auto edges = example();
    for (const int64_t n : {1, 2, 3, 100}) {
        const auto slices = slice_destinations(edges, n);
        EXPECT_EQ(int64_t(slices.size()), std::min(n, edges.n_dst));
        int64_t next_dst = 0, next_edge = 0;
        for (const auto& slice : slices) {
            EXPECT_EQ(slice.first_dst, next_dst);
            EXPECT_EQ(slice.first_edge, next_edge);
            const auto own = [&](const at::Tensor& ids) {
                return ids.slice(0, next_edge, next_edge + slice.edges.n_edges());
            };
            const auto src =
                slice.src_rows.defined() ? slice.src_rows.index_select(0, slice.edges.src) : slice.edges.src;
            EXPECT_TRUE(at::equal(src, own(edges.src)));
            EXPECT_TRUE(at::equal(slice.edges.dst + slice.first_dst, own(edges.dst)));
            if (slice.src_rows.defined()) {
                EXPECT_EQ(slice.edges.n_src, std::get<0>(at::_unique2(own(edges.src))).size(0));
            }
            next_dst += slice.edges.n_dst;
            next_edge += slice.edges.n_edges();
        }
        EXPECT_EQ(next_dst, edges.n_dst);
        EXPECT_EQ(next_edge, edges.n_edges());
    }
}

} // namespace
} // namespace gradwind::ops
