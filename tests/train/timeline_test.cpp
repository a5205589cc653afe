// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "tests/support/ranks.h"
#include "tests/train/tiny_training.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>

namespace gradwind::train
{
namespace
{

using nlohmann::json;

const std::vector<std::string> kSteps = {"dataloader.batch_size.training=6", "training.max_steps=6",
                                         "training.strategy.bucket_cap_mb=0.01",
                                         "training.strategy.first_bucket_mb=0.004"};

/// Events of one kind of one rank, in the order of the file.
std::vector<json> events(const json& trace, const std::string& kind, int rank, int track)
{
    std::vector<json> result;
    for (const auto& event : trace["traceEvents"])
        if (event["ph"] == kind && event["pid"] == rank && event.value("tid", -1) == track)
            result.push_back(event);
    return result;
}

void check_phases(const std::vector<json>& phases)
{
    const std::vector<std::string> names = {"read", "prepare", "forward", "backward", "exchange", "update"};
    ASSERT_EQ(phases.size(), 3 * names.size()) << "three steps";
    for (size_t i = 0; i < phases.size(); ++i) {
        EXPECT_EQ(phases[i]["name"], names[i % names.size()]);
        EXPECT_EQ(phases[i]["cat"], "step " + std::to_string(2 + i / names.size()));
        EXPECT_GE(phases[i]["dur"].get<double>(), 0);
        if (i > 0) {
            const double end = phases[i - 1]["ts"].get<double>() + phases[i - 1]["dur"].get<double>();
            EXPECT_GE(phases[i]["ts"].get<double>(), end - 0.01) << "one after the other";
        }
    }
}

/// Every bucket begins in its step's backward or exchange, and has a sum before the update.
void check_buckets(const std::vector<json>& begins, const std::vector<json>& ends, const std::vector<json>& phases)
{
    ASSERT_EQ(begins.size(), ends.size());
    ASSERT_GE(begins.size(), 6u) << "at least two in each of three steps";
    std::set<std::string> ids;
    int64_t bytes = 0;
    for (size_t i = 0; i < begins.size(); ++i) {
        EXPECT_EQ(begins[i]["id"], ends[i]["id"]);
        EXPECT_TRUE(ids.insert(begins[i]["id"]).second) << "ids are unique";
        EXPECT_LE(begins[i]["ts"].get<double>(), ends[i]["ts"].get<double>());
        bytes += begins[i]["args"]["gradient_bytes"].get<int64_t>();
        const size_t step = i / (begins.size() / 3);
        EXPECT_GE(begins[i]["ts"].get<double>(), phases[6 * step + 3]["ts"].get<double>()) << "not before backward";
        EXPECT_LE(ends[i]["ts"].get<double>(), phases[6 * step + 5]["ts"].get<double>() + 100) << "nor after exchange";
    }
    EXPECT_GT(bytes, 0);
    EXPECT_EQ(bytes % 3, 0) << "all gradients, three times";
}

TEST(Timeline, HasComputeBucketsAndLoaderOfEveryRank)
{
    const TinyTraining training;
    if (testing::in_rank())
        run_child(training);
    auto overrides = kSteps;
    start({.name = "plain", .overrides = overrides, .n_processes = 2});
    overrides.emplace_back("diagnostics.timeline={first_step: 2, steps: 3}");
    start({.name = "seen", .overrides = overrides, .n_processes = 2});
    EXPECT_FALSE(std::filesystem::exists(training.run_dir("plain") / "timeline.json"));
    EXPECT_EQ(relative_difference(weights_of(training.run_dir("seen")), weights_of(training.run_dir("plain"))), 0)
        << "who looks changes nothing";
    std::ifstream in(training.run_dir("seen") / "timeline.json");
    const auto trace = json::parse(in);
    for (const int rank : {0, 1}) {
        const auto phases = events(trace, "X", rank, 0);
        check_phases(phases);
        check_buckets(events(trace, "b", rank, 2), events(trace, "e", rank, 2), phases);
        EXPECT_EQ(events(trace, "b", rank, 3).size(), 3u) << "batches that were decoded";
        EXPECT_TRUE(events(trace, "X", rank, 1).empty()) << "a CPU has no second clock";
    }
}

TEST(Timeline, OfARunThatEndsBeforeIsWritten)
{
    const TinyTraining training;
    if (testing::in_rank())
        run_child(training);
    auto overrides = kSteps;
    overrides.emplace_back("diagnostics.timeline={first_step: 4, steps: 100}");
    start({.name = "short", .overrides = overrides, .n_processes = 2});
    std::ifstream in(training.run_dir("short") / "timeline.json");
    EXPECT_EQ(events(json::parse(in), "X", 1, 0).size(), 2 * 6u);
}

} // namespace
} // namespace gradwind::train
