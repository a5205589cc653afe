// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/autograd.h"
#include "gradwind/parallel/head_exchange.h"
#include "gradwind/parallel/window_plan.h"

#include "gradwind/core/error.h"
#include "gradwind/ops/checkpoint.h"
#include "tests/support/ranks.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <numeric>

namespace gradwind::parallel
{
namespace
{

/// Small whole numbers, exact in double: products and sums of them must agree to the last bit.
at::Tensor numbers(int64_t seed, at::IntArrayRef shape)
{
    const auto count = std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
    return (at::arange(count, at::kDouble) * 7 + double(3 * seed)).remainder(11).sub(5).reshape(shape);
}

double total(const Group& world, const at::Tensor& a, const at::Tensor& b)
{
    return world.sum(std::array{(a * b).sum().item<double>()}).front();
}

/// <f(x), y> = <x, f'(y)> over all ranks.
void expect_adjoint(const Group& world, const std::function<at::Tensor(const at::Tensor&)>& f, const at::Tensor& x)
{
    const auto leaf = x.clone().requires_grad_(true);
    const auto result = f(leaf);
    const auto y = numbers(50 + world.rank(), result.sizes());
    const auto gradient = torch::autograd::grad({result}, {leaf}, {y})[0];
    EXPECT_EQ(total(world, result.detach(), y), total(world, x, gradient));
}

/// 2, 0, 1, 4 rows: an empty and a one-row shard among them.
std::vector<int64_t> uneven(int size)
{
    const std::vector<int64_t> rows = {2, 0, 1, 4};
    return {rows.begin(), rows.begin() + size};
}

GRADWIND_MULTIRANK_TEST(Autograd, GatherHasAllRowsAndItsTrueAdjoint, RankCounts{1, 2, 3, 4})
{
    const auto rows = uneven(world.size());
    std::vector<at::Tensor> all;
    for (int rank = 0; rank < world.size(); ++rank)
        all.push_back(numbers(rank, {rows[size_t(rank)], 3}));
    const auto& x = all[size_t(world.rank())];
    const auto gather = [&](const at::Tensor& own) { return gather_rows(own, rows, world); };
    EXPECT_TRUE(at::equal(gather(x), at::cat(all)));
    expect_adjoint(world, gather, x);
}

GRADWIND_MULTIRANK_TEST(Autograd, ScatterSumsAndItsTrueAdjoint, RankCounts{1, 2, 3, 4})
{
    const auto rows = uneven(world.size());
    const auto n = std::accumulate(rows.begin(), rows.end(), int64_t{0});
    at::Tensor sum = at::zeros({n, 2}, at::kDouble);
    for (int rank = 0; rank < world.size(); ++rank)
        sum += numbers(rank, {n, 2});
    const auto begin = std::accumulate(rows.begin(), rows.begin() + world.rank(), int64_t{0});
    const auto x = numbers(world.rank(), {n, 2});
    const auto scatter = [&](const at::Tensor& whole) { return scatter_sum_rows(whole, rows, world); };
    EXPECT_TRUE(at::equal(scatter(x), sum.narrow(0, begin, rows[size_t(world.rank())])));
    expect_adjoint(world, scatter, x);
    const auto add = [&](const at::Tensor& whole) { return sum_over_ranks(whole, world); };
    EXPECT_TRUE(at::equal(add(x), sum));
    expect_adjoint(world, add, x);
}

GRADWIND_MULTIRANK_TEST(Autograd, ExchangeSendsEveryBlockAndItsTrueAdjoint, RankCounts{1, 2, 3, 4})
{
    const auto rows = [](int from, int to) { return int64_t{(from + 2 * to) % 3}; };
    std::vector<int64_t> send, receive;
    std::vector<at::Tensor> sent, expected;
    for (int peer = 0; peer < world.size(); ++peer) {
        send.push_back(rows(world.rank(), peer));
        receive.push_back(rows(peer, world.rank()));
        sent.push_back(numbers(10 * world.rank() + peer, {send.back(), 2}));
        expected.push_back(numbers(10 * peer + world.rank(), {receive.back(), 2}));
    }
    const auto exchange = [&](const at::Tensor& x) { return exchange_rows(x, send, receive, world); };
    EXPECT_TRUE(at::equal(exchange(at::cat(sent)), at::cat(expected)));
    expect_adjoint(world, exchange, at::cat(sent));
}

/// A bipartite graph on 9 sources and 7 destinations whose last rank owns nothing from 4 ranks on.
struct Example {
    Partition sources, destinations;
    std::vector<int64_t> src = {0, 4, 8, 1, 3, 3, 7, 2, 5, 6, 8, 0, 4, 6, 2},
                         dst = {0, 0, 0, 1, 1, 2, 2, 2, 3, 4, 4, 5, 5, 6, 6};
    explicit Example(int n_ranks)
        : sources(cut({0, 1, 2, 0, 1, 2, 0, 0, 1}, n_ranks)), destinations(cut({2, 1, 0, 0, 2, 1, 0}, n_ranks))
    {
    }
    static Partition cut(std::vector<int32_t> owner, int n_ranks)
    {
        for (auto& rank : owner)
            rank %= n_ranks;
        return Partition::from_owners(std::move(owner), n_ranks);
    }
    [[nodiscard]] ExchangePlan plan(int rank) const
    {
        return make_exchange_plan(sources, destinations, src, dst, rank);
    }
};

at::Tensor rows_of(const at::Tensor& x, const Partition& cut, int rank)
{
    const auto rows = cut.rows(rank);
    return x.index_select(1, at::tensor(std::vector<int64_t>(rows.begin(), rows.end()), at::kLong)).flatten(0, 1);
}

GRADWIND_MULTIRANK_TEST(HaloExchange, BringsTheSourceOfEveryEdgeAndItsTrueAdjoint, RankCounts{1, 2, 3, 4})
{
    const Example example(world.size());
    const auto plan = example.plan(world.rank());
    for (const int64_t copies : {1, 2}) {
        const HaloExchange halo(world, plan, copies, at::kCPU);
        const auto whole = numbers(3, {copies, 9, 4}); // the same on all ranks
        const auto x = rows_of(whole, example.sources, world.rank());
        const auto all = halo(x);
        EXPECT_EQ(all.size(0), copies * (plan.n_owned + plan.n_halo()));
        EXPECT_TRUE(at::equal(all.narrow(0, 0, x.size(0)), x));
        const auto src = plan.sources_of_copies(copies);
        for (size_t i = 0; i < src.size(); ++i) {
            const auto copy = int64_t(i / plan.edges.size());
            const auto global = example.src[size_t(plan.edges[i % plan.edges.size()])];
            EXPECT_TRUE(at::equal(all[src[i]], whole[copy][global]));
        }
        expect_adjoint(world, halo, x);
        if (!halo.is_identity()) {
            EXPECT_THROW((void)halo(at::zeros({x.size(0) + 1, 4})), ShapeError);
        }
    }
}

GRADWIND_MULTIRANK_TEST(HaloExchange, SumsOverEdgesAreThoseOfOneProcess, RankCounts{1, 2, 3, 4})
{
    const Example example(world.size());
    const auto plan = example.plan(world.rank());
    const auto whole = numbers(3, {1, 9, 2});
    const auto weight = numbers(8, {1, 7, 2});
    const HaloExchange halo(world, plan, 1, at::kCPU);
    const auto x = rows_of(whole, example.sources, world.rank()).requires_grad_(true);
    const auto messages = halo(x).index_select(0, at::tensor(plan.sources_of_copies(1), at::kLong));
    const auto sums = at::zeros({plan.n_destinations, 2}, at::kDouble)
                          .index_add(0, at::tensor(plan.dst, at::kLong), messages.square());
    (sums * rows_of(weight, example.destinations, world.rank())).sum().backward();

    const auto one = whole[0].clone().requires_grad_(true);
    const auto expected = at::zeros({7, 2}, at::kDouble)
                              .index_add(0, at::tensor(example.dst, at::kLong),
                                         one.index_select(0, at::tensor(example.src, at::kLong)).square());
    (expected * weight[0]).sum().backward();
    EXPECT_TRUE(at::equal(sums.detach(), rows_of(expected.detach().unsqueeze(0), example.destinations, world.rank())));
    EXPECT_TRUE(at::equal(x.grad(), rows_of(one.grad().unsqueeze(0), example.sources, world.rank())));
}

GRADWIND_MULTIRANK_TEST(HaloExchange, OwnRowsAreUsedWhileOthersTravel, RankCounts{1, 2, 3, 4})
{
    const Example example(world.size());
    const auto plan = example.plan(world.rank());
    const HaloExchange halo(world, plan, 2, at::kCPU);
    const auto x = rows_of(numbers(3, {2, 9, 4}), example.sources, world.rank()).requires_grad_(true);
    const auto weight = numbers(20 + world.rank(), {2 * (plan.n_owned + plan.n_halo()), 4});
    (halo(x).square() * weight).sum().backward();
    const auto expected = x.grad().clone();
    x.mutable_grad() = at::Tensor();

    const auto arrival = halo.start(x);
    const auto own = arrival.own();
    EXPECT_TRUE(at::equal(own, x));
    const auto early = own.square(); // keeps what lies beside the rows that are still to come
    const auto rows = arrival.rows();
    EXPECT_EQ(rows.data_ptr(), own.data_ptr());
    arrival.finish();
    arrival.finish(); // nothing more to do
    EXPECT_TRUE(at::equal(rows.detach(), halo(x).detach()));
    ((rows.square() * weight).sum() + 2 * early.sum()).backward();
    EXPECT_TRUE(at::equal(x.grad(), expected + 4 * x.detach()));
}

GRADWIND_MULTIRANK_TEST(HaloExchange, ARecomputedRegionDoesNotExchangeAgain, RankCounts{2, 3})
{
    const Example example(world.size());
    const auto plan = example.plan(world.rank());
    const auto x = rows_of(numbers(3, {1, 9, 2}), example.sources, world.rank());
    at::Tensor gradients[2];
    int64_t calls[2];
    for (const auto mode : {ops::Intermediates::Keep, ops::Intermediates::Recompute}) {
        const auto leaf = x.clone().requires_grad_(true);
        const auto before = world.traffic().of(Verb::AllToAll).calls;
        const auto halo = HaloExchange(world, plan, 1, at::kCPU).remembering();
        const auto run = [halo](const std::vector<at::Tensor>& in) -> std::vector<at::Tensor> {
            halo.begin_run();
            const auto once = halo(in[0]).square().narrow(0, 0, in[0].size(0));
            return {halo(once) * 3};
        };
        const auto out = ops::region(mode, run, {leaf}, {});
        out[0].square().sum().backward();
        gradients[int(mode)] = leaf.grad();
        calls[int(mode)] = world.traffic().of(Verb::AllToAll).calls - before;
    }
    EXPECT_TRUE(at::equal(gradients[0], gradients[1]));
    EXPECT_EQ(calls[0], 4) << "two exchanges there and two back";
    EXPECT_EQ(calls[1], 4);
}

GRADWIND_MULTIRANK_TEST(HeadExchange, GivesAllRowsOfSomeHeadsAndItsTrueAdjoint, RankCounts{1, 2, 3, 4})
{
    constexpr int64_t heads = 5, depth = 2, copies = 2;
    const Example example(world.size());
    for (const auto& rows : {example.sources, Partition::contiguous(9, world.size())}) {
        const HeadExchange exchange(world, rows, copies, heads, at::kCPU);
        const auto whole = numbers(4, {copies, 9, heads * depth});
        const auto x = rows_of(whole, rows, world.rank());
        const auto own = exchange.own_heads();
        const auto all = exchange.to_heads(x);
        EXPECT_TRUE(at::equal(all, whole.flatten(0, 1).narrow(1, own.begin * depth, own.size * depth)));
        EXPECT_TRUE(at::equal(exchange.to_rows(all), x));
        const auto pair = exchange.to_heads({x, x.narrow(1, 0, heads) * 3});
        EXPECT_TRUE(at::equal(pair[0], all));
        EXPECT_TRUE(at::equal(pair[1], exchange.to_heads(x.narrow(1, 0, heads) * 3)));
        const auto narrow = exchange.to_heads({x, x.to(at::kFloat)});
        EXPECT_TRUE(at::equal(narrow[1], all.to(at::kFloat))) << "two types travel one after the other";
        expect_adjoint(
            world, [&](const at::Tensor& t) { return exchange.to_heads(t); }, x);
        expect_adjoint(
            world,
            [&](const at::Tensor& t) {
                return at::cat(exchange.to_heads({t, t.narrow(1, 0, heads) * 3}), 1);
            },
            x);
        expect_adjoint(
            world, [&](const at::Tensor& t) { return exchange.to_rows(t); }, all);
    }
    if (world.size() > 1) {
        EXPECT_THROW(HeadExchange(world, example.sources, 1, 1, at::kCPU), ConfigError);
    }
}

GRADWIND_MULTIRANK_TEST(WindowExchange, BringsTheRowsThatAreSeenAndItsTrueAdjoint, RankCounts{1, 2, 3, 4})
{
    // Destinations: none, one row, many. Sources: the same, others, and scattered ones.
    const Partition destinations = Partition::from_owners(
        world.size() == 4 ? std::vector<int32_t>{0, 2, 2, 2, 2, 3, 3, 3, 3} : std::vector<int32_t>(9, 0), world.size());
    for (const auto& sources : {destinations, Partition::contiguous(9, world.size()), Example(world.size()).sources})
        for (const int64_t window : {int64_t{0}, int64_t{3}, int64_t{1} << 40})
            for (const int64_t copies : {1, 2}) {
                const auto plan = make_window_plan(sources, destinations, window, world.rank());
                const HaloExchange halo(world, plan.exchange, copies, at::kCPU);
                const auto whole = numbers(3, {copies, 9, 4});
                const auto index = at::tensor(plan.exchange.sources_of_copies(copies), at::kLong);
                const auto see = [&](const at::Tensor& x) { return halo(x).index_select(0, index); };
                const auto x = rows_of(whole, sources, world.rank());
                const auto seen = see(x);
                const auto range = *destinations.range(world.rank());
                const auto low = std::max<int64_t>(0, range.begin - window);
                const auto high = range.size == 0 ? low : std::min<int64_t>(9, range.end() + window);
                EXPECT_TRUE(at::equal(seen, whole.narrow(1, low, high - low).flatten(0, 1)));
                if (range.size > 0) {
                    EXPECT_EQ(plan.query_position, range.begin - low);
                }
                expect_adjoint(world, see, x);
                const auto counted = count_window_halo(sources, destinations, window).parts[size_t(world.rank())];
                EXPECT_EQ(counted.n_halo, plan.exchange.n_halo());
                EXPECT_EQ(counted.n_send, plan.exchange.n_send());
            }
    if (world.size() > 1) {
        const auto scattered = Example(world.size()).sources;
        EXPECT_THROW((void)make_window_plan(scattered, scattered, 1, world.rank()), ConfigError);
    }
}

TEST(HaloExchange, AGroupOfOneReturnsItsInput)
{
    const Example example(1);
    const auto x = numbers(1, {9, 2});
    EXPECT_TRUE(HaloExchange(Group::self(), example.plan(0), 1, at::kCPU)(x).is_same(x));
    EXPECT_TRUE(HaloExchange()(x).is_same(x));
    EXPECT_TRUE(gather_rows(x, std::vector<int64_t>{9}, Group::self()).is_same(x));
    EXPECT_TRUE(scatter_sum_rows(x, std::vector<int64_t>{9}, Group::self()).is_same(x));
    EXPECT_TRUE(exchange_rows(x, std::vector<int64_t>{9}, std::vector<int64_t>{9}, Group::self()).is_same(x));
    EXPECT_TRUE(sum_over_ranks(x, Group::self()).is_same(x));
}

} // namespace
} // namespace gradwind::parallel
