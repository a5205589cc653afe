// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// `gradwind verify CONFIG` passes on what is right, and names what is wrong for each of the faults planted here.
#include "gradwind/core/error.h"
#include "gradwind/parallel/launch.h"
#include "gradwind/train/step_hooks.h"
#include "gradwind/verify/golden.h"
#include "gradwind/verify/layouts.h"
#include "gradwind/verify/layouts_worker.h"
#include "tests/train/tiny_training.h"
#include "tests/verify/layout_faults.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <set>

namespace gradwind::verify
{
namespace
{

constexpr const char* kOrder = "GRADWIND_TEST_ORDER";
constexpr const char* kFault = "GRADWIND_TEST_FAULT";

/// In a process of a layout: trains with the fault that the parent wants, and ends.
void run_if_worker()
{
    const char* order = std::getenv(kOrder);
    if (!order)
        return;
    const char* fault = std::getenv(kFault);
    const bool is_reference = read_order(order).reference_folder.empty();
    const auto hooks = make_fault(fault && !is_reference ? fault : "");
    const int code = run_layout_worker(order, *hooks);
    std::cerr << std::flush;
    std::_Exit(code);
}

LayoutsRequest request_of(const train::TinyTraining& training, const std::vector<std::string>& overrides)
{
    LayoutsRequest request{.config = training.config_file(),
                           .overrides = overrides,
                           .n_processes = 3,
                           .steps = 2,
                           .precision = "64-true",
                           .only = {},
                           .command = {},
                           .progress = {}};
    request.overrides.push_back("system.input.dataset=" + training.run_dir("tiny.zarr").string());
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    const auto name = std::string(info->test_suite_name()) + "." + info->name();
    request.command = [name](const std::filesystem::path& order) -> std::vector<std::string> {
        return {"/bin/sh",
                "-c",
                "exec \"$@\" >/dev/null",
                "sh",
                "/usr/bin/env",
                std::string(kOrder) + "=" + order.string(),
                "OMP_NUM_THREADS=1",
                "OPENBLAS_NUM_THREADS=1",
                std::filesystem::read_symlink("/proc/self/exe").string(),
                "--gtest_filter=" + name};
    };
    return request;
}

/// Batches of two, and four members: two on each of two pairs of processes that share a model.
LayoutsRequest request_of_ensemble(const train::TinyTraining& training, const std::string& config)
{
    auto request = request_of(training, {"dataloader.batch_size.training=2", "dataloader.batch_size.validation=2",
                                         "training.ensemble_size_per_device=2", "system.hardware.num_gpus_per_model=2",
                                         "system.hardware.num_gpus_per_ensemble=4"});
    request.config = training.config_file(config);
    request.n_processes = 4;
    return request;
}

/// The first failed check of a report; empty if there is none.
std::string first_failure(const CaseReport& report)
{
    const auto found =
        std::find_if(report.checks.begin(), report.checks.end(), [](const Check& check) { return !check.passed(); });
    return found == report.checks.end() ? "" : found->name;
}

/// Plants a fault in every layout of the given name and expects that its first difference is this one.
void expect_found(const std::string& fault, const std::string& layout, const std::string& first,
                  const std::string& config = "tiny")
{
    run_if_worker();
    const train::TinyTraining training;
    ::setenv(kFault, fault.c_str(), 1);
    auto request = request_of(training, {"dataloader.batch_size.training=2", "dataloader.batch_size.validation=2"});
    request.config = training.config_file(config);
    request.n_processes = 4; // 8 samples: three replicas have 3, 3 and 2
    request.only = {layout};
    const auto result = verify_layouts(request);
    ::unsetenv(kFault);
    ASSERT_FALSE(result.reports.empty());
    const bool was_tried = std::any_of(result.reports.begin(), result.reports.end(),
                                       [](const CaseReport& report) { return !report.checks.empty(); });
    if (!was_tried)
        GTEST_SKIP() << result.reports[0].name << ": " << result.reports[0].not_run.at(0);
    EXPECT_FALSE(result.passed());
    for (const auto& report : result.reports)
        EXPECT_NE(first_failure(report).find(first), std::string::npos) << fault << " in " << report.name << "\n"
                                                                        << format_layouts(result);
}

TEST(VerifyLayouts, EveryLayoutOfFourProcessesIsTheSame)
{
    run_if_worker();
    const train::TinyTraining training;
    auto request = request_of(training, {"dataloader.batch_size.training=2", "dataloader.batch_size.validation=3",
                                         "task.rollout={start: 1, epoch_increment: 1, maximum: 2}"});
    request.n_processes = 4;
    request.steps = 4;
    const auto result = verify_layouts(request);
    std::cout << format_layouts(result);
    EXPECT_TRUE(result.passed());
    EXPECT_EQ(result.work.effective_batch, 8);
    EXPECT_GE(result.reports.size(), 13u);
    int64_t compared = 0;
    for (const auto& report : result.reports) {
        compared += report.passed();
        EXPECT_TRUE(report.passed() || !report.not_run.empty()) << report.name << " is neither compared nor explained";
        for (const auto& check : report.checks)
            EXPECT_LE(check.tolerance, 1e-11) << check.name;
    }
    EXPECT_GE(compared, 7);
}

/// Every layout passes, these among them.
void expect_all_pass(const LayoutsResult& result, const std::vector<std::string>& names)
{
    std::cout << format_layouts(result);
    EXPECT_TRUE(result.passed());
    std::set<std::string> passed;
    for (const auto& report : result.reports) {
        EXPECT_TRUE(report.passed()) << report.name << " was not compared";
        passed.insert(report.name);
    }
    for (const auto& name : names)
        EXPECT_TRUE(passed.contains(name)) << name;
}

TEST(VerifyLayouts, SeveralDataSetsAreTheSameOnEveryLayout)
{
    run_if_worker();
    const train::TinyTraining training;
    auto request = request_of(training, {"dataloader.batch_size.training=2", "dataloader.batch_size.validation=2",
                                         "task.rollout={start: 2, epoch_increment: 0, maximum: 2}"});
    request.config = training.config_file("tiny_two");
    expect_all_pass(verify_layouts(request),
                    {"W2 2x2", "W3 1x2", "W2 M2 R1 2x3", "W2 M2 R2 2x3", "W2 M2 R2 bisection 2x3", "W3 M3 R1 2x3",
                     "W3 M3 R3 2x3", "W3 M3 R3 bisection 2x3"});
}

TEST(VerifyLayouts, EnsemblesOfSeveralDataSetsAreTheSameOnEveryLayout)
{
    run_if_worker();
    const train::TinyTraining training;
    auto request = request_of_ensemble(training, "tiny_two_ens");
    request.only = {"W2", "W3 E3 M3 R3", "W4 E4"};
    expect_all_pass(verify_layouts(request),
                    {"W2 E1 1x1", "W2 E2 2x1", "W2 E2 M2 R2 2x1", "W2 E2 M2 R2 heads 2x1", "W3 E3 M3 R3 2x1",
                     "W4 E4 2x1", "W4 E4 M2 R2 2x1", "W4 E4 M2 R2 bisection 2x1", "W4 E4 M4 R4 heads 2x1"});
}

TEST(VerifyLayouts, MembersModelsAndReplicasOfAnEnsembleAreTheSameInEveryMixture)
{
    run_if_worker();
    const train::TinyTraining training;
    const auto request = request_of_ensemble(training, "tiny_ens");
    const auto result = verify_layouts(request);
    EXPECT_EQ(result.work.members, 4);
    EXPECT_EQ(result.work.effective_batch, 2);
    expect_all_pass(result, {"W2 E1 1x1", "W2 E2 2x1", "W2 E2 M2 R2 2x1", "W3 E3 M3 R3 2x1", "W4 E2 1x1", "W4 E4 2x1",
                             "W4 E2 M2 R2 1x1", "W4 E4 M2 R2 2x1", "W4 E4 M4 R4 heads 2x1"});
}

TEST(VerifyLayouts, InFloatTheTolerancesFollowTheDepthOfSums)
{
    run_if_worker();
    const train::TinyTraining training;
    auto request = request_of(training, {"dataloader.batch_size.training=3"});
    request.precision = "32-true";
    request.steps = 4;
    request.only = {"W1", "W2 3", "W3 3"};
    const auto result = verify_layouts(request);
    std::cout << format_layouts(result);
    EXPECT_TRUE(result.passed());
    for (const auto& report : result.reports)
        for (const auto& check : report.checks) {
            EXPECT_LT(check.tolerance, 1e-3) << check.name;
            EXPECT_TRUE(check.tolerance == 0 || check.error < check.tolerance / 2) << check.name << ": too close";
        }
}

TEST(VerifyLayouts, LayoutsAreEnumeratedWithoutGapsAndRepeats)
{
    CommonWork work;
    work.effective_batch = 8;
    work.batch = 2;
    std::vector<std::string> names;
    for (const auto& layout : layout_cases(work, 4))
        names.push_back(layout.name());
    EXPECT_EQ(names, (std::vector<std::string>{"W1 8x1",
                                               "W1 1x8",
                                               "W2 2x2",
                                               "W2 1x4",
                                               "W2 M2 R1 2x4",
                                               "W2 M2 R2 2x4",
                                               "W2 M2 R2 bisection 2x4",
                                               "W3 2x2",
                                               "W3 1x3",
                                               "W3 M3 R1 2x4",
                                               "W3 M3 R3 2x4",
                                               "W3 M3 R3 bisection 2x4",
                                               "W4 2x1",
                                               "W4 1x2",
                                               "W4 M2 R1 2x2",
                                               "W4 M2 R2 2x2",
                                               "W4 M2 R2 bisection 2x2",
                                               "W4 M4 R1 2x4",
                                               "W4 M4 R2 2x4",
                                               "W4 M4 R4 2x4",
                                               "W4 M4 R4 bisection 2x4"}));
    work.kind = parallel::JobKind::Ensemble;
    work.members = 4;
    work.effective_batch = 2;
    names.clear();
    for (const auto& layout : layout_cases(work, 4))
        names.push_back(layout.name());
    for (const char* name : {"W1 E1 1x2", "W2 E1 1x1", "W2 E2 2x1", "W4 E2 1x1", "W4 E4 2x1", "W4 E4 M2 R1 2x1"})
        EXPECT_EQ(std::count(names.begin(), names.end(), name), 1) << name;
    EXPECT_EQ(std::count_if(names.begin(), names.end(), [](const auto& n) { return n.find("W3 E3") == 0; }), 3)
        << "three processes cannot share four members, only one model: " << fmt::format("{}", fmt::join(names, ", "));
}

TEST(VerifyLayouts, WaysToShareFitTheNetwork)
{
    using Json = nlohmann::json;
    const auto choices = [](const Json& processor, const Json& mapper) {
        const Json config = {
            {"system", {{"hardware", {{"num_gpus_per_node", 4}}}}},
            {"model", {{"processor", processor}, {"encoders", {{"0", {{"mapper", mapper}}}}}, {"decoder", mapper}}}};
        return common_work(Config::from_json(config, "test"), 4).sharing;
    };
    const Json gnn = {{"_target_", "GNNProcessor"}};
    const Json graph = {{"_target_", "a.GraphTransformerForwardMapper"}, {"num_heads", 3}};
    const Json windows = {{"_target_", "TransformerProcessor"}, {"window_size", 5}};
    EXPECT_TRUE(choices(gnn, gnn).empty());
    const auto heads = choices(windows, graph);
    ASSERT_EQ(heads.size(), 1u);
    EXPECT_EQ(heads[0].name, "heads");
    EXPECT_EQ(heads[0].most_processes, 3) << "the mappers have the fewest heads";
    EXPECT_EQ(heads[0].overrides,
              (std::vector<std::string>{"model.processor.shard_strategy=heads", "model.decoder.shard_strategy=heads",
                                        "model.encoders.0.mapper.shard_strategy=heads"}));
    auto by_heads = windows;
    by_heads["shard_strategy"] = "heads";
    const auto both = choices(by_heads, graph);
    ASSERT_EQ(both.size(), 2u);
    EXPECT_EQ(both[1].name, "sequence");
    EXPECT_EQ(both[1].overrides.back(), "model.encoders.0.mapper.shard_strategy=edges");
    const Json all = {{"_target_", "TransformerProcessor"}};
    EXPECT_TRUE(choices(all, gnn).empty()) << "global attention has no other way than by heads";
    CommonWork work;
    work.effective_batch = work.batch = 2;
    work.sharing = heads;
    std::vector<std::string> names;
    for (const auto& layout : layout_cases(work, 4))
        names.push_back(layout.name());
    EXPECT_EQ(std::count(names.begin(), names.end(), "W3 M3 R3 heads 2x1"), 1);
    EXPECT_EQ(std::count(names.begin(), names.end(), "W4 M4 R4 heads 2x1"), 0) << "four processes, three heads";
}

TEST(VerifyLayoutsFault, AFactorThatKnowsRanksInsteadOfSamples)
{
    expect_found("factor", "W3 2x2", "step 1, loss");
}

TEST(VerifyLayoutsFault, AMissingFactorOfAccumulation)
{
    expect_found("accumulation", "W2 1x", "step 1, loss");
}

TEST(VerifyLayoutsFault, AShiftedSample)
{
    expect_found("shifted", "W2 2x", "step 1, samples of rank 1: expected dates [");
}

TEST(VerifyLayoutsFault, TheSamplesOfAnotherReplica)
{
    expect_found("other-replica", "W2 2x", "step 1, samples of rank 1: expected dates [");
}

TEST(VerifyLayoutsFault, ADroppedBucket)
{
    expect_found("bucket", "W2 2x", "step 1, gradient " + std::string(kFaultTensor) + " on rank 1");
}

TEST(VerifyLayoutsFault, AnOptimiserThatSkipsATensor)
{
    expect_found("skipped", "W2 2x", "step 1, weight " + std::string(kFaultTensor) + " on rank 0");
}

TEST(VerifyLayoutsFault, StaleParametersOnOneRank)
{
    expect_found("stale", "W2 2x", "step 0, weight " + std::string(kFaultTensor) + " on rank 1");
}

TEST(VerifyLayoutsFault, AForcingOfAnotherDate)
{
    expect_found("forcing", "W2 2x", "step 1, loss");
}

TEST(VerifyLayoutsFault, MetricsOverBatchesInsteadOfSamples)
{
    expect_found("metrics", "W3 2x2", "validation after step 1, samples on rank 0");
}

TEST(VerifyLayoutsFault, ADroppedHaloRow)
{
    expect_found("dropped-row", "W2 M2 R2 2x", "step 1, loss");
}

TEST(VerifyLayoutsFault, HaloRowsOfAnotherSender)
{
    expect_found("other-sender", "W3 M3 R3 2x", "step 1, loss");
}

TEST(VerifyLayoutsFault, AShareOfTheLossCountedTwice)
{
    expect_found("share-twice", "W2 M2 R2 2x", "step 1, loss");
}

TEST(VerifyLayoutsFault, AReaderThatTakesOtherCells)
{
    expect_found("other-cells", "W2 M2 R2 2x", "step 1, loss");
}

TEST(VerifyLayoutsFault, OtherCellsOfTheSecondDataSetOnly)
{
    expect_found("other-cells-of-the-last", "W2 M2 R2 2x", "step 1, loss", "tiny_two");
}

TEST(VerifyLayoutsFault, ARankThatThrowsIsNamedWithItsReason)
{
    expect_found("throws", "W2 2x", "rank 1 stopped: planted fault");
}

} // namespace
} // namespace gradwind::verify
