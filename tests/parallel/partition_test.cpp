// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/partition.h"

#include "gradwind/core/error.h"
#include "gradwind/grid/gaussian.h"
#include "gradwind/grid/icosphere.h"
#include "gradwind/parallel/exchange_plan.h"
#include "tests/support/mesh.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <random>
#include <set>

namespace gradwind::parallel
{
namespace
{

using test::Mesh;

TEST(Partition, RangesAreBalancedAndNumberTheirRows)
{
    const auto cut = Partition::contiguous(10, 4);
    EXPECT_EQ(cut.sizes(), (std::vector<int64_t>{3, 3, 2, 2}));
    EXPECT_EQ(cut.range(2), (Span{6, 2}));
    EXPECT_EQ(cut.owner(5), 1);
    EXPECT_EQ(cut.local(5), 2);
    EXPECT_EQ(Partition(7).sizes(), std::vector<int64_t>{7});
}

TEST(Partition, RowsOfAnyOwnersAreAscending)
{
    const auto cut = Partition::from_owners({2, 0, 2, 2, 0}, 4);
    EXPECT_EQ(cut.sizes(), (std::vector<int64_t>{2, 0, 3, 0}));
    const auto rows = cut.rows(2);
    EXPECT_EQ(std::vector<int64_t>(rows.begin(), rows.end()), (std::vector<int64_t>{0, 2, 3}));
    EXPECT_EQ(cut.local(3), 2);
    EXPECT_FALSE(cut.range(0));
    EXPECT_EQ(cut.range(1), Span{});
    EXPECT_THROW((void)Partition::from_owners({1}, 1), InternalError);
}

TEST(Partition, MoreRanksThanRowsAreRefusedWithAReason)
{
    graph::NodeSet nodes;
    nodes.name = "hidden";
    nodes.lat_rad = {0.F, 1.F, -1.F};
    nodes.lon_rad = {0.F, 1.F, 2.F};
    const graph::NodeSet* sets[] = {&nodes};
    for (const auto kind : {PartitionKind::Contiguous, PartitionKind::Bisection}) {
        try {
            (void)make_partitions(kind, sets, 4);
            ADD_FAILURE() << "no error";
        } catch (const ConfigError& error) {
            EXPECT_NE(std::string(error.what()).find("the 3 nodes of `hidden` cannot be shared by 4 processes"),
                      std::string::npos)
                << error.what();
        }
        EXPECT_EQ(make_partitions(kind, sets, 3)[0].sizes(), (std::vector<int64_t>{1, 1, 1}));
    }
}

TEST(Partition, BisectionCutsSeveralSetsByTheSamePlanes)
{
    const Mesh coarse(3), fine(5);
    const graph::NodeSet* sets[] = {&coarse.nodes, &fine.nodes};
    for (const int n_parts : {1, 2, 3, 5, 8}) {
        SCOPED_TRACE(n_parts);
        const auto cut = bisection(sets, n_parts);
        const auto first = cut[0].sizes(), second = cut[1].sizes();
        EXPECT_LE(*std::max_element(first.begin(), first.end()) - *std::min_element(first.begin(), first.end()), 1);
        const auto mean = double(fine.nodes.size()) / n_parts;
        for (const auto size : second)
            EXPECT_NEAR(double(size), mean, 0.1 * mean);
        // Every vertex of the coarse mesh is one of the fine mesh, at the same place: unless it lies in a plane, it has
        // the same owner.
        int64_t differ = 0;
        for (int64_t vertex = 0; vertex < coarse.nodes.size(); ++vertex)
            differ += cut[0].owner(coarse.node_of_vertex[vertex]) != cut[1].owner(fine.node_of_vertex[vertex]);
        EXPECT_LE(differ, coarse.nodes.size() / 10);
    }
}

/// Upper bounds of the halo, mean and worst rank, in percent of owned rows (what was counted before, plus a tenth).
struct HaloCase {
    int n_parts;
    double bands_mean, bands_worst, patches_mean, patches_worst;
    double cells; ///< most cells of a patch over the mean, where the nodes are cut evenly
};

/// The cells of the octahedral grid o96.
graph::NodeSet o96_cells()
{
    graph::NodeSet cells;
    cells.name = "data";
    const auto grid = grid::octahedral_grid(96);
    for (size_t i = 0; i < grid.lat_deg.size(); ++i) {
        cells.lat_rad.push_back(float(grid.lat_deg[i] * M_PI / 180));
        cells.lon_rad.push_back(float(grid.lon_deg[i] * M_PI / 180));
    }
    return cells;
}

TEST(Partition, HaloOfTheMultiScaleMeshIsAsSmallAsItShouldBe)
{
    const Mesh mesh(6);
    ASSERT_EQ(mesh.nodes.size(), 40962);
    ASSERT_EQ(mesh.src.size(), 327600U);
    const auto data = o96_cells();
    const graph::NodeSet* sets[] = {&mesh.nodes, &data};
    for (const auto& expected : {HaloCase{2, 2.8, 2.8, 2.6, 2.6, 1.001}, HaloCase{4, 7.5, 10.1, 5.2, 5.3, 1.02},
                                 HaloCase{8, 16.0, 20.7, 8.0, 8.4, 1.03}, HaloCase{16, 32.8, 42.5, 13.0, 14.4, 1.1}}) {
        SCOPED_TRACE(expected.n_parts);
        const auto count = [&](PartitionKind kind) {
            const auto cut = make_partitions(kind, sets, expected.n_parts);
            const auto sizes = cut[1].sizes();
            const auto largest = double(*std::max_element(sizes.begin(), sizes.end()));
            EXPECT_LE(largest * expected.n_parts, expected.cells * double(data.size()));
            return count_halo(cut[0], cut[0], mesh.src, mesh.dst);
        };
        const auto bands = count(PartitionKind::Contiguous), patches = count(PartitionKind::Bisection);
        for (const auto* halo : {&bands, &patches})
            std::printf("M=%-3d %s: halo %5.1f %% mean %5.1f %% worst, edges x%.3f, at most %d neighbours\n",
                        expected.n_parts, halo == &bands ? "bands  " : "patches", 100 * halo->mean_ratio(),
                        100 * halo->worst_ratio(), halo->edge_imbalance(), halo->most_neighbours());
        EXPECT_LT(100 * bands.mean_ratio(), 1.1 * expected.bands_mean);
        EXPECT_LT(100 * bands.worst_ratio(), 1.1 * expected.bands_worst);
        EXPECT_LT(100 * patches.mean_ratio(), 1.1 * expected.patches_mean);
        EXPECT_LT(100 * patches.worst_ratio(), 1.1 * expected.patches_worst);
    }
}

struct RandomEdges {
    std::vector<int64_t> src, dst;
    std::vector<int32_t> src32, dst32;
    RandomEdges(int64_t n_src, int64_t n_dst, int64_t n_edges, uint32_t seed)
    {
        std::mt19937 random(seed);
        for (int64_t e = 0; e < n_edges; ++e) {
            src.push_back(int64_t(random() % uint32_t(n_src)));
            dst.push_back(int64_t(random() % uint32_t(n_dst)));
        }
        std::sort(dst.begin(), dst.end());
        src32.assign(src.begin(), src.end());
        dst32.assign(dst.begin(), dst.end());
    }
};

Partition random_partition(int64_t n_rows, int n_parts, uint32_t seed)
{
    std::mt19937 random(seed);
    std::vector<int32_t> owner;
    for (int64_t i = 0; i < n_rows; ++i)
        owner.push_back(int32_t(random() % uint32_t(n_parts)));
    return Partition::from_owners(std::move(owner), n_parts);
}

/// The global row behind a local source row of copy `copy`.
int64_t global_source(const Partition& sources, const ExchangePlan& plan, int rank, int64_t copies, int64_t copy,
                      int64_t row)
{
    if (row < copies * plan.n_owned) {
        EXPECT_EQ(row / plan.n_owned, copy);
        return sources.rows(rank)[size_t(row % plan.n_owned)];
    }
    row -= copies * plan.n_owned;
    int64_t before = 0;
    for (const auto count : plan.receive_rows) {
        if (row < copies * count) {
            EXPECT_EQ(row / count, copy);
            return plan.halo[size_t(before + row % count)];
        }
        row -= copies * count;
        before += count;
    }
    ADD_FAILURE() << "beyond the last row";
    return -1;
}

TEST(ExchangePlan, EveryEdgeIsThereOnceWithItsSourceForAnyGraph)
{
    struct Case {
        int64_t n_src, n_dst, n_edges;
        int n_parts;
    };
    for (const auto& [n_src, n_dst, n_edges, n_parts] :
         {Case{40, 25, 300, 4}, Case{6, 30, 80, 3}, Case{5, 5, 9, 4}, Case{3, 2, 1, 4}, Case{7, 7, 40, 1}}) {
        SCOPED_TRACE(n_parts);
        const RandomEdges edges(n_src, n_dst, n_edges, 17);
        const auto sources = random_partition(n_src, n_parts, 1), destinations = random_partition(n_dst, n_parts, 2);
        const auto counted = count_halo(sources, destinations, edges.src32, edges.dst32);
        std::vector<ExchangePlan> plans;
        for (int rank = 0; rank < n_parts; ++rank)
            plans.push_back(make_exchange_plan(sources, destinations, edges.src, edges.dst, rank));
        std::set<int64_t> seen;
        for (int rank = 0; rank < n_parts; ++rank) {
            const auto& plan = plans[size_t(rank)];
            EXPECT_EQ(plan.n_halo(), counted.parts[size_t(rank)].n_halo);
            EXPECT_EQ(plan.n_send(), counted.parts[size_t(rank)].n_send);
            EXPECT_EQ(int64_t(plan.edges.size()), counted.parts[size_t(rank)].n_edges);
            EXPECT_TRUE(std::is_sorted(plan.dst.begin(), plan.dst.end()));
            EXPECT_EQ(plan.send_rows[size_t(rank)], 0) << "own rows do not travel";
            for (const int64_t copies : {1, 3}) {
                const auto src = plan.sources_of_copies(copies);
                ASSERT_EQ(src.size(), size_t(copies) * plan.edges.size());
                for (size_t i = 0; i < src.size(); ++i) {
                    const auto e = size_t(plan.edges[i % plan.edges.size()]);
                    EXPECT_EQ(global_source(sources, plan, rank, copies, int64_t(i / plan.edges.size()), src[i]),
                              edges.src[e]);
                }
            }
            for (size_t i = 0; i < plan.edges.size(); ++i) {
                EXPECT_TRUE(seen.insert(plan.edges[i]).second) << "edge " << plan.edges[i] << " twice";
                EXPECT_EQ(destinations.rows(rank)[size_t(plan.dst[i])], edges.dst[size_t(plan.edges[i])]);
            }
            // What one rank sends is what the other expects, row by row.
            int64_t at = 0;
            for (int sender = 0; sender < n_parts; ++sender) {
                const auto& from = plans[size_t(sender)];
                const auto begin = std::accumulate(from.send_rows.begin(), from.send_rows.begin() + rank, int64_t{0});
                ASSERT_EQ(from.send_rows[size_t(rank)], plan.receive_rows[size_t(sender)]);
                for (int64_t i = 0; i < from.send_rows[size_t(rank)]; ++i)
                    EXPECT_EQ(sources.rows(sender)[size_t(from.send[size_t(begin + i)])], plan.halo[size_t(at++)]);
            }
        }
        EXPECT_EQ(int64_t(seen.size()), n_edges);
    }
}

TEST(ExchangePlan, UnsortedEdgesAndStrayNumbersAreRefused)
{
    const auto cut = Partition::contiguous(4, 2);
    EXPECT_THROW((void)make_exchange_plan(cut, cut, std::vector<int64_t>{0, 1}, std::vector<int64_t>{3, 2}, 0),
                 ShapeError);
    EXPECT_THROW((void)make_exchange_plan(cut, cut, std::vector<int64_t>{4}, std::vector<int64_t>{0}, 1), ShapeError);
    EXPECT_THROW((void)make_exchange_plan(cut, cut, std::vector<int64_t>{0}, std::vector<int64_t>{-1}, 1), ShapeError);
}

} // namespace
} // namespace gradwind::parallel
