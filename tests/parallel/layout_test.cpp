// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/layout.h"

#include "gradwind/core/error.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numeric>

namespace gradwind::parallel
{
namespace
{

using nlohmann::json;

/// The original's own tables; null where the reference vectors are absent.
json golden_sampler()
{
    const char* folder = std::getenv("GRADWIND_GOLDEN");
    const std::filesystem::path root = folder ? folder : GRADWIND_SOURCE_DIR "/../shared/golden";
    std::ifstream file(root / "sampler" / "case.json");
    return file ? json::parse(file) : json();
}

std::string config_error_of(const LayoutOptions& options)
{
    try {
        const Layout layout(options);
        return "no error";
    } catch (const ConfigError& error) {
        return error.what();
    }
}

TEST(Layout, SeedExampleHasEffectiveBatchSixteen)
{
    const Layout layout({.nodes = 2, .gpus_per_node = 4, .gpus_per_model = 2});
    EXPECT_EQ(layout.replicas(), 4);
    EXPECT_EQ(layout.effective_batch(4), 16);
    EXPECT_EQ(layout.effective_batch(4, 3), 48);
    EXPECT_EQ(layout.learning_rate_factor(), 4);
    EXPECT_EQ(layout.model_ranks(3), (std::vector<int>{6, 7}));
}

TEST(Layout, GroupsAreThoseOfTheOriginal)
{
    const json golden = golden_sampler();
    if (golden.is_null())
        GTEST_SKIP() << "reference vectors are absent: set GRADWIND_GOLDEN";
    ASSERT_GE(golden["group_layouts"].size(), 10u);
    for (const json& row : golden["group_layouts"]) {
        SCOPED_TRACE(row.dump());
        const Layout layout({.nodes = 1,
                             .gpus_per_node = row["world"],
                             .gpus_per_model = row["gpus_per_model"],
                             .gpus_per_ensemble = row["gpus_per_ensemble"],
                             .read_group_size = row["read_group_size"],
                             .kind = JobKind::Ensemble});
        const Place place = layout.place(row["rank"]);
        EXPECT_EQ(place.model_id, row["model_comm_group_id"]);
        EXPECT_EQ(place.model_rank, row["model_comm_group_rank"]);
        EXPECT_EQ(place.reader_id, row["reader_group_id"]);
        EXPECT_EQ(place.reader_rank, row["reader_group_rank"]);
        EXPECT_EQ(place.ensemble_id, row["ens_comm_group_id"]);
        EXPECT_EQ(place.ensemble_rank, row["ens_comm_group_rank"]);
        EXPECT_EQ(place.subgroup_id, row["ens_comm_subgroup_id"]);
        EXPECT_EQ(place.subgroup_rank, row["ens_comm_subgroup_rank"]);
        EXPECT_EQ(layout.subgroup_size(), row["ens_comm_subgroup_size"]);
        EXPECT_EQ(layout.replicas(), row["ens_comm_num_groups"]);
        EXPECT_EQ(layout.reader_ranks(place.model_id, place.reader_id).front(), row["reader_group_root"]);
        for (size_t id = 0; id < row["model_comm_group_ranks"].size(); ++id) {
            EXPECT_EQ(json(layout.model_ranks(id)), row["model_comm_group_ranks"][id]);
            for (size_t reader = 0; reader < row["reader_group_ranks"][id].size(); ++reader)
                EXPECT_EQ(json(layout.reader_ranks(id, reader)), row["reader_group_ranks"][id][reader]);
        }
        for (size_t id = 0; id < row["ens_comm_group_ranks"].size(); ++id)
            EXPECT_EQ(json(layout.ensemble_ranks(id)), row["ens_comm_group_ranks"][id]);
        for (size_t id = 0; id < row["ens_comm_subgroup_ranks"].size(); ++id)
            EXPECT_EQ(json(layout.subgroup_ranks(id)), row["ens_comm_subgroup_ranks"][id]);
    }
}

TEST(Layout, BalancedPartitionIsThatOfTheOriginal)
{
    const json golden = golden_sampler();
    if (golden.is_null())
        GTEST_SKIP() << "reference vectors are absent: set GRADWIND_GOLDEN";
    for (const json& row : golden["balanced_partition"]) {
        SCOPED_TRACE(row.dump());
        EXPECT_EQ(json(balanced_partition(row["n"], row["parts"])), row["sizes"]);
        for (size_t part = 0; part < row["ranges"].size(); ++part) {
            const Span span = balanced_span(row["n"], row["parts"], part);
            EXPECT_EQ(span.begin, row["ranges"][part][0]);
            EXPECT_EQ(span.end(), row["ranges"][part][1]);
        }
    }
}

TEST(Layout, PartsDifferByOneAndAddUp)
{
    for (int64_t n : {0, 1, 7, 40320})
        for (int64_t parts : {1, 2, 3, 8, 64}) {
            const auto sizes = balanced_partition(n, parts);
            EXPECT_EQ(std::accumulate(sizes.begin(), sizes.end(), int64_t{0}), n);
            EXPECT_LE(sizes.front() - sizes.back(), 1);
        }
}

TEST(Layout, RulesSayWhatWouldWork)
{
    EXPECT_EQ(
        config_error_of({.gpus_per_node = 6, .gpus_per_model = 4}),
        "[layout] 6 processes cannot be cut into groups of num_gpus_per_model = 4: use 1, 2, 3 or 6 GPUs per model, "
        "or 4 or 8 processes");
    EXPECT_EQ(config_error_of({.gpus_per_node = 8, .gpus_per_model = 4, .read_group_size = 3}),
              "[layout] read_group_size = 3 does not divide num_gpus_per_model = 4: use 1, 2 or 4");
    EXPECT_EQ(
        config_error_of({.gpus_per_node = 8, .gpus_per_model = 2, .gpus_per_ensemble = 3, .kind = JobKind::Ensemble}),
        "[layout] num_gpus_per_ensemble = 3 is not a multiple of num_gpus_per_model = 2: use 2 or 4");
    EXPECT_EQ(
        config_error_of({.gpus_per_node = 8, .gpus_per_model = 2, .gpus_per_ensemble = 6, .kind = JobKind::Ensemble}),
        "[layout] 8 processes cannot be cut into groups of num_gpus_per_ensemble = 6: use 1, 2, 4 or 8 GPUs per "
        "ensemble, or 6 or 12 processes");
    EXPECT_EQ(config_error_of({.gpus_per_node = 0}), "[layout] num_gpus_per_node must be at least 1, found 0");
    EXPECT_EQ(config_error_of({.gpus_per_node = 2, .gpus_per_model = 4}),
              "[layout] 2 processes cannot be cut into groups of num_gpus_per_model = 4: use 1 or 2 GPUs per model, "
              "or 4 processes");
}

TEST(Layout, WorldIsNodesByGpus)
{
    EXPECT_EQ(parse_world("8x4").nodes, 8);
    EXPECT_EQ(parse_world("8x4").gpus_per_node, 4);
    EXPECT_EQ(parse_world("3").gpus_per_node, 3);
    for (const char* text : {"", "x", "8x", "x4", "8x4x2", "-1x4", "8 x 4", "0x4", "99999999999"})
        EXPECT_THROW((void)parse_world(text), ConfigError) << text;
}

} // namespace
} // namespace gradwind::parallel
