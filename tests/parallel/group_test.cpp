// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/group.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/passing_backend.h"
#include "tests/support/ranks.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <csignal>
#include <numeric>
#include <thread>

namespace gradwind::parallel
{
namespace
{

using gradwind::testing::in_rank;
using gradwind::testing::rank_world;
using gradwind::testing::run_ranks;

/// Small whole numbers that differ between ranks and places, exact in every type.
at::Tensor numbers(int rank, std::vector<int64_t> shape, at::ScalarType type = at::kDouble)
{
    const int64_t count = std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
    return (at::arange(count) * 7 + 3 * rank).remainder(11).reshape(shape).to(type);
}

at::Tensor sum_over_ranks(int size, std::vector<int64_t> shape, at::ScalarType type = at::kDouble)
{
    auto sum = at::zeros(shape, type);
    for (int rank = 0; rank < size; ++rank)
        sum += numbers(rank, shape, type);
    return sum;
}

double adjoint_product(const at::Tensor& a, const at::Tensor& b)
{
    return (a.to(at::kDouble) * b.to(at::kDouble)).sum().item<double>();
}

double total(const Group& world, double value)
{
    return world.sum(std::array{value}).front();
}

constexpr std::array kTypes = {at::kDouble, at::kFloat, at::kHalf,  at::kBFloat16,
                               at::kLong,   at::kInt,   at::kShort, at::kByte};

GRADWIND_MULTIRANK_TEST(Group, AllReduceSumsEveryType, RankCounts{1, 2, 3, 4})
{
    for (const auto type : kTypes) {
        SCOPED_TRACE(c10::toString(type));
        auto x = numbers(world.rank(), {5, 3}, type);
        EXPECT_TRUE(at::equal(world.all_reduce_sum(x), sum_over_ranks(world.size(), {5, 3}, type)));
        auto strided = numbers(world.rank(), {5, 3}, type).t();
        world.all_reduce_sum_(strided);
        EXPECT_TRUE(at::equal(strided, sum_over_ranks(world.size(), {5, 3}, type).t()));
        auto empty = at::empty({0, 3}, type);
        world.all_reduce_sum_(empty);
        auto work = world.all_reduce_sum_async_(x);
        work.wait();
        work.wait(); // a second wait is harmless
        EXPECT_TRUE(at::equal(x, sum_over_ranks(world.size(), {5, 3}, type)));
    }
}

GRADWIND_MULTIRANK_TEST(Group, HalfPrecisionIsRoundedOnce, RankCounts{1, 2, 3, 4})
{
    // 256 + 1 rounds to 256 in bf16; summed in fp32 the ones survive until the only rounding at the end.
    auto x = at::full({world.size() * 3 + 1}, world.rank() == 0 ? 256.0 : 1.0, at::kBFloat16);
    const auto expected = at::full({1}, 256.0 + (world.size() - 1), at::kFloat).to(at::kBFloat16).item<float>();
    world.all_reduce_sum_(x);
    EXPECT_TRUE(at::equal(x, at::full_like(x, expected))) << expected;
}

GRADWIND_MULTIRANK_TEST(Group, GatherAndScatterAreAdjointWithUnevenRows, RankCounts{1, 2, 3, 4})
{
    const int size = world.size();
    std::vector<int64_t> rows; // 2, 0, 4, 6
    for (int rank = 0; rank < size; ++rank)
        rows.push_back(rank == 1 ? 0 : 2 + 2 * std::max(0, rank - 1));
    for (const auto type : kTypes) {
        SCOPED_TRACE(c10::toString(type));
        std::vector<at::Tensor> all;
        for (int rank = 0; rank < size; ++rank)
            all.push_back(numbers(rank, {rows[rank], 3}, type));
        const auto x = all[world.rank()];
        const auto gathered = world.all_gather(x, rows);
        EXPECT_TRUE(at::equal(gathered, at::cat(all)));
        const auto y = numbers(world.rank() + 5, gathered.sizes().vec(), type);
        const auto scattered = world.reduce_scatter_sum(y, rows);
        auto sum = at::zeros_like(y);
        for (int rank = 0; rank < size; ++rank)
            sum += numbers(rank + 5, gathered.sizes().vec(), type);
        const int64_t begin = std::accumulate(rows.begin(), rows.begin() + world.rank(), int64_t{0});
        EXPECT_TRUE(at::equal(scattered, sum.narrow(0, begin, rows[world.rank()])));
        if (type == at::kDouble) {
            EXPECT_EQ(total(world, adjoint_product(gathered, y)), total(world, adjoint_product(x, scattered)));
        }
    }
    EXPECT_TRUE(at::equal(world.all_gather(at::full({2}, world.rank())), at::arange(size).repeat_interleave(2)));
}

GRADWIND_MULTIRANK_TEST(Group, AllToAllSendsEveryBlockAndIsUndoneByItsReverse, RankCounts{1, 2, 3, 4})
{
    const int size = world.size();
    const auto rows = [](int from, int to) { return from == to ? int64_t{1} : int64_t{(from + 2 * to) % 3}; };
    const auto block = [&](int from, int to, at::ScalarType type) {
        return numbers(10 * from + to, {rows(from, to), 2}, type);
    };
    std::vector<int64_t> send, receive;
    for (int peer = 0; peer < size; ++peer) {
        send.push_back(rows(world.rank(), peer));
        receive.push_back(rows(peer, world.rank()));
    }
    for (const auto type : kTypes) {
        SCOPED_TRACE(c10::toString(type));
        std::vector<at::Tensor> sent, expected;
        for (int peer = 0; peer < size; ++peer) {
            sent.push_back(block(world.rank(), peer, type));
            expected.push_back(block(peer, world.rank(), type));
        }
        const auto x = at::cat(sent);
        const auto received = world.all_to_all(x, send, receive);
        EXPECT_TRUE(at::equal(received, at::cat(expected)));
        EXPECT_TRUE(at::equal(world.all_to_all(received, receive, send), x));
        const auto y = numbers(world.rank(), received.sizes().vec());
        EXPECT_EQ(total(world, adjoint_product(received, y)),
                  total(world, adjoint_product(x, world.all_to_all(y, receive, send))));
    }
}

GRADWIND_MULTIRANK_TEST(Group, BroadcastsTensorsAndBytes, RankCounts{1, 2, 3, 4})
{
    const int root = world.size() - 1;
    for (const auto type : {at::kFloat, at::kBFloat16, at::kBool, at::kShort}) {
        auto x = numbers(world.rank(), {2, 3}, type).t();
        world.broadcast_(x, root);
        EXPECT_TRUE(at::equal(x, numbers(root, {2, 3}, type).t())) << c10::toString(type);
    }
    EXPECT_EQ(world.broadcast_bytes("from " + std::to_string(world.rank()), root), "from " + std::to_string(root));
    EXPECT_EQ(world.broadcast_bytes("", 0), "");
    std::vector<std::string> expected;
    for (int rank = 0; rank < world.size(); ++rank)
        expected.push_back(std::string(rank, 'x'));
    EXPECT_EQ(world.all_gather_bytes(expected[world.rank()]), expected);
}

GRADWIND_MULTIRANK_TEST(Group, FoldsNumbersAndCountsBytes, RankCounts{1, 2, 3})
{
    const auto before = world.traffic();
    const std::array mine = {1.0 + world.rank(), -1.0 * world.rank()};
    const int n = world.size();
    EXPECT_EQ(world.sum(mine), (std::vector<double>{n * (n + 1) / 2.0, -n * (n - 1) / 2.0}));
    EXPECT_EQ(world.max(mine), (std::vector<double>{1.0 * n, 0.0}));
    EXPECT_EQ(world.traffic().of(Verb::AllGather).bytes - before.of(Verb::AllGather).bytes, n == 1 ? 0 : 32);
    auto x = at::zeros({10}, at::kFloat);
    world.all_reduce_sum_(x);
    EXPECT_EQ(world.traffic().of(Verb::AllReduce).bytes, n == 1 ? 0 : 40);
    EXPECT_EQ(world.traffic().of(Verb::AllReduce).calls, 1);
}

GRADWIND_MULTIRANK_TEST(Group, SubgroupsOfALayoutSumTheirOwnRanks, RankCounts{1, 4})
{
    const int size = world.size();
    const Layout layout({.gpus_per_node = size,
                         .gpus_per_model = std::max(1, size / 2),
                         .gpus_per_ensemble = size,
                         .read_group_size = 1,
                         .kind = JobKind::Ensemble});
    const Groups groups = make_groups(layout, world);
    const Place place = layout.place(world.rank());
    const auto check = [&](const Group& group, const std::vector<int>& members, int rank) {
        EXPECT_EQ(group.members(), members) << group.name();
        EXPECT_EQ(group.rank(), rank) << group.name();
        const double expected = std::accumulate(members.begin(), members.end(), 0.0);
        EXPECT_EQ(total(group, world.rank()), expected) << group.name();
    };
    check(groups.model, layout.model_ranks(place.model_id), place.model_rank);
    check(groups.ensemble, layout.ensemble_ranks(place.ensemble_id), place.ensemble_rank);
    check(groups.subgroup, layout.subgroup_ranks(place.subgroup_id), place.subgroup_rank);
    check(groups.reader, {world.rank()}, 0);
    EXPECT_THROW(make_groups(Layout({.gpus_per_node = size + 1}), world), ConfigError);
}

class NotesQueues : public detail::PassingBackend
{
public:
    using PassingBackend::PassingBackend;
    [[nodiscard]] std::unique_ptr<detail::Ticket> all_reduce_sum(at::Tensor x, detail::Queue queue) override
    {
        queues.push_back(queue);
        return inner().all_reduce_sum(x, queue);
    }
    std::vector<detail::Queue> queues;
};

/// A GPU that goes to and fro between streams starts all its kernels later.
GRADWIND_MULTIRANK_TEST(Group, SumsThatAreWaitedForAreQueuedWithTheCallersWork, RankCounts{2, 3})
{
    const auto backend = std::make_shared<NotesQueues>(world.state()->backend);
    world.state()->backend = backend;
    auto x = numbers(world.rank(), {5, 3});
    EXPECT_TRUE(at::equal(world.all_reduce_sum(x), sum_over_ranks(world.size(), {5, 3})));
    world.all_reduce_sum_(x);
    world.all_reduce_sum_async_(x).wait();
    using detail::Queue;
    EXPECT_EQ(backend->queues, (std::vector{Queue::Callers, Queue::Callers, Queue::Own}));
}

TEST(Group, ArgumentsThatDoNotFitAreRefused)
{
    const Group one = Group::self();
    const std::vector<int64_t> two = {1, 1}, right = {3}, wrong = {4};
    const auto x = at::zeros({3, 2});
    EXPECT_THROW((void)one.all_gather(x, two), ShapeError);
    EXPECT_THROW((void)one.all_gather(x, wrong), ShapeError);
    EXPECT_THROW((void)one.reduce_scatter_sum(x, wrong), ShapeError);
    EXPECT_THROW((void)one.all_to_all(x, right, wrong), ShapeError);
    EXPECT_THROW((void)one.all_to_all(x, std::vector<int64_t>{-3}, right), ShapeError);
    EXPECT_THROW((void)one.all_reduce_sum_async_(x.t()), ShapeError);
    EXPECT_TRUE(one.all_gather(x, right).is_same(x));
    EXPECT_TRUE(one.all_reduce_sum(x).is_same(x));
}

/// Runs the collective in a rank; says what came of it in words that the parent checks.
void report_comm_error(const Group& world, const std::function<void()>& collective)
{
    try {
        collective();
        std::puts("NO ERROR");
    } catch (const CommError& error) {
        std::printf("COMM ERROR %s\n", error.what());
        try {
            world.barrier();
        } catch (const CommError& again) {
            std::printf("AND THEN %s\n", again.what());
        }
        std::fflush(stdout);
        ::_exit(static_cast<int>(error.code()));
    }
}

constexpr gradwind::testing::RunOptions kShort = {.watchdog_seconds = 30, .timeout_seconds = 3};
constexpr double kBoundSeconds = 10; // start of a process, the timeout above, and slack for a loaded machine

TEST(GroupFailure, KilledRankEndsTheOthersInBoundedTime)
{
    if (in_rank()) {
        const Group world = rank_world();
        world.set_step(17);
        meet(world, "the start", std::chrono::seconds(20)); // or one is killed while another still connects to it
        if (world.rank() == 1)
            ::raise(SIGKILL);
        auto x = at::ones({1000});
        report_comm_error(world, [&] { world.all_reduce_sum_(x); });
        return;
    }
    const auto results = run_ranks(3, kShort);
    EXPECT_EQ(results[1].exit_code, 128 + SIGKILL);
    for (const int rank : {0, 2}) {
        EXPECT_EQ(results[rank].exit_code, 4) << results[rank].output;
        EXPECT_LT(results[rank].seconds, kBoundSeconds);
        const auto head =
            fmt::format("COMM ERROR [comm] rank {}: all_reduce in group world (ranks 0,1,2) failed at step 17: ", rank);
        EXPECT_NE(results[rank].output.find(head), std::string::npos) << results[rank].output;
        EXPECT_NE(results[rank].output.find("AND THEN [comm] barrier in group world refused"), std::string::npos);
    }
}

TEST(GroupFailure, SilentRankIsATimeout)
{
    if (in_rank()) {
        const Group world = rank_world();
        auto x = at::ones({10});
        if (world.rank() == 0)
            report_comm_error(world, [&] { world.all_reduce_sum_(x); });
        std::this_thread::sleep_for(std::chrono::seconds(8));
        return;
    }
    const auto results = run_ranks(2, kShort);
    EXPECT_EQ(results[0].exit_code, 4) << results[0].output;
    EXPECT_GT(results[0].seconds, kShort.timeout_seconds);
    EXPECT_LT(results[0].seconds, kBoundSeconds);
}

TEST(GroupFailure, AMeetingHasAPatienceOfItsOwnAndSeesWhoHasFailed)
{
    using namespace std::chrono_literals;
    if (in_rank()) {
        const Group world = rank_world();
        const bool is_late = world.rank() == 2;
        if (is_late)
            std::this_thread::sleep_for(std::chrono::duration<double>(kShort.timeout_seconds + 1));
        meet(world, "the first meeting", 20s);
        std::puts("MET");
        if (is_late) {
            std::this_thread::sleep_for(1s);
            world.fail("file of 1979 is damaged");
            ::_exit(3);
        }
        report_comm_error(world, [&] { meet(world, "the second meeting", 20s); });
        return;
    }
    const auto results = run_ranks(3, kShort);
    for (const int rank : {0, 1}) {
        const auto& text = results[rank].output;
        EXPECT_NE(text.find("MET"), std::string::npos) << text;
        EXPECT_NE(text.find("2 of 3 processes came to the second meeting"), std::string::npos) << text;
        EXPECT_NE(text.find("rank 2 had failed: file of 1979 is damaged"), std::string::npos) << text;
        EXPECT_LT(results[rank].seconds, kBoundSeconds + 5) << "long before the patience is at an end";
    }
}

TEST(GroupFailure, AMeetingThatSomebodyMissesEndsAndSaysWhere)
{
    if (in_rank()) {
        const Group world = rank_world();
        if (world.rank() == 0)
            report_comm_error(world, [&] { meet(world, "a checkpoint", std::chrono::milliseconds(500)); });
        std::this_thread::sleep_for(std::chrono::seconds(3));
        return;
    }
    const auto results = run_ranks(2, kShort);
    EXPECT_EQ(results[0].exit_code, 4) << results[0].output;
    EXPECT_NE(results[0].output.find("rank 0: barrier in group world (ranks 0,1) failed: 1 of 2 processes came to a "
                                     "checkpoint within 0.5 s"),
              std::string::npos)
        << results[0].output;
}

TEST(GroupFailure, LocalExceptionReachesTheOthersWithItsMessage)
{
    if (in_rank()) {
        const Group world = rank_world();
        const auto work = [&] {
            if (world.rank() == 1)
                throw DataError("file of 1979 is damaged");
            auto x = at::ones({10});
            world.all_reduce_sum_(x);
        };
        report_comm_error(world, [&] {
            try {
                run_supervised(world, work);
            } catch (const DataError&) {
                ::_exit(3);
            }
        });
        return;
    }
    const auto results = run_ranks(3, kShort);
    EXPECT_EQ(results[1].exit_code, 3) << results[1].output;
    for (const int rank : {0, 2}) {
        EXPECT_EQ(results[rank].exit_code, 4) << results[rank].output;
        EXPECT_NE(results[rank].output.find("rank 1 had failed: file of 1979 is damaged"), std::string::npos)
            << results[rank].output;
    }
}

TEST(GroupFailure, MissingRankIsACommError)
{
    if (in_rank()) {
        if (std::string(std::getenv("GRADWIND_RANK")) == "1")
            return;
        report_comm_error(Group::self(), [] { (void)rank_world(); });
        return;
    }
    const auto results = run_ranks(2, kShort);
    EXPECT_EQ(results[0].exit_code, 4) << results[0].output;
    EXPECT_NE(results[0].output.find("rank 0 meeting the other 1 processes at"), std::string::npos)
        << results[0].output;
    EXPECT_LT(results[0].seconds, kBoundSeconds);
}

} // namespace
} // namespace gradwind::parallel
