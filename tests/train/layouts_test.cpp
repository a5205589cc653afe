// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The law of layouts: one configuration gives one result, however many processes share the work (design §4).
#include "gradwind/core/error.h"
#include "tests/support/ranks.h"
#include "tests/train/tiny_training.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace gradwind::train
{
namespace
{

struct LayoutCase {
    int n_processes;
    int batch_size; ///< of a forward pass; replicas x batch_size x accumulation is 12
    int accumulation;
    int model_size = 1;                      ///< processes that share one model
    std::vector<std::string> overrides = {}; ///< of this layout only
    [[nodiscard]] int replicas() const { return n_processes / model_size; }
    [[nodiscard]] std::string name() const { return fmt::format("w{}m{}b{}", n_processes, model_size, batch_size); }
};

/// Trains 20 steps in every layout and compares samples, losses, validation and weights with one process.
void compare_layouts(const std::vector<std::string>& overrides, double tolerance,
                     const std::vector<LayoutCase>& cases = {{1, 12, 1}, {1, 4, 3}, {2, 3, 2}, {3, 4, 1}, {4, 3, 1}},
                     const std::string& config = "tiny")
{
    const TinyTraining training;
    if (testing::in_rank())
        run_child(training);
    std::vector<std::string> names;
    for (const auto& layout : cases) {
        auto all = overrides;
        all.push_back("dataloader.batch_size.training=" + std::to_string(layout.batch_size));
        all.push_back("training.accum_grad_batches=" + std::to_string(layout.accumulation));
        all.push_back("dataloader.batch_size.validation=" + std::to_string(12 / layout.replicas()));
        all.push_back("system.hardware.num_gpus_per_model=" + std::to_string(layout.model_size));
        all.insert(all.end(), layout.overrides.begin(), layout.overrides.end());
        names.push_back(layout.name());
        start({.name = names.back(), .overrides = all, .n_processes = layout.n_processes, .config = config});
    }
    if (::testing::Test::HasFailure())
        return;
    const auto reference = training.run_dir(names[0]);
    const auto weights = weights_of(reference);
    const auto losses = rows_of(reference, "train");
    const auto samples = samples_of(reference, 1);
    ASSERT_EQ(losses.size(), 20u);
    ASSERT_EQ(samples.size(), 20u);
    EXPECT_TRUE(std::any_of(samples.begin(), samples.end(), [](const auto& of_step) { return of_step.size() < 12; }))
        << "a short batch is part of the test";
    for (size_t i = 1; i < cases.size(); ++i) {
        SCOPED_TRACE(names[i]);
        const auto run = training.run_dir(names[i]);
        EXPECT_EQ(samples_of(run, cases[i].n_processes, cases[i].model_size), samples);
        const auto own = rows_of(run, "train");
        ASSERT_EQ(own.size(), losses.size());
        double worst = 0;
        for (size_t step = 0; step < own.size(); ++step)
            for (const char* name : {"train_multi_dataset_loss_step", "lr-AdamW"}) {
                const double expected = losses[step][name];
                worst = std::max(worst, std::abs(own[step][name].get<double>() - expected) / std::max(expected, 1e-30));
            }
        EXPECT_LT(worst, tolerance);
        const double difference = relative_difference(weights_of(run), weights);
        EXPECT_LT(difference, tolerance);
        const auto validation = rows_of(run, "validation"), expected = rows_of(reference, "validation");
        ASSERT_EQ(validation.size(), expected.size());
        ASSERT_GE(expected.size(), 5u);
        for (const auto& [name, value] : expected.back().items())
            if (name.starts_with("val_")) {
                EXPECT_NEAR(validation.back()[name].get<double>(), value.get<double>(),
                            tolerance * std::abs(value.get<double>()))
                    << name;
            }
        std::printf("%-8s losses %.1e, weights %.1e\n", names[i].c_str(), worst, difference);
    }
}

TEST(LawOfLayouts, HoldsInDouble)
{
    compare_layouts({"training.precision=64-true"}, 1e-12);
}

TEST(LawOfLayouts, HoldsForSeveralDataSets)
{
    compare_layouts({"training.precision=64-true", "training.strategy.bucket_cap_mb=0.003",
                     "task.rollout={start: 1, epoch_increment: 2, maximum: 2}"},
                    1e-12, {{1, 12, 1}, {1, 4, 3}, {2, 3, 2}, {3, 4, 1}, {2, 6, 2, 2}, {4, 6, 1, 2}, {4, 12, 1, 4}},
                    "tiny_two");
}

TEST(LawOfLayouts, HoldsInFloat)
{
    compare_layouts({}, 1e-5);
}

TEST(LawOfLayouts, HoldsWithBucketsThatCutTensorsAndBuffersThatAreSent)
{
    compare_layouts({"training.precision=64-true", "training.strategy.bucket_cap_mb=0.003",
                     "training.strategy.first_bucket_mb=0.001", "training.strategy.broadcast_buffers=true"},
                    1e-12);
}

TEST(LawOfLayouts, HoldsToItsPrecisionWithBf16OnTheWire)
{
    // Shares are rounded to 8 bits, another set of them on every layout.
    compare_layouts({"training.strategy.wire_dtype=bf16"}, 1e-3, {{1, 12, 1}, {2, 3, 2}, {3, 4, 1}});
}

TEST(LawOfLayouts, HoldsWhereProcessesShareTheOptimiser)
{
    const auto zero = [](int size) { return std::vector{"training.strategy.zero_group_size=" + std::to_string(size)}; };
    // Tensors and buckets are cut; groups of two also in a job of two models, and of two groups.
    compare_layouts({"training.precision=64-true", "training.strategy.bucket_cap_mb=0.003"}, 1e-12,
                    {{1, 12, 1, 1, zero(1)},
                     {2, 3, 2, 1, zero(2)},
                     {3, 4, 1, 1, zero(3)},
                     {4, 3, 1, 1, zero(2)},
                     {4, 6, 1, 2, zero(4)}});
}

TEST(LawOfLayouts, HoldsWhereNodesSumFirst)
{
    const std::vector<std::string> nodes = {"training.strategy.hierarchical=true", "system.hardware.num_nodes=2",
                                            "system.hardware.num_gpus_per_node=2"};
    compare_layouts({"training.precision=64-true", "training.strategy.bucket_cap_mb=0.003"}, 1e-12,
                    {{1, 12, 1}, {4, 3, 1, 1, nodes}, {4, 6, 1, 2, nodes}});
}

TEST(LawOfLayouts, HoldsForFactorsOfGradients)
{
    // Projections are linear: what is sent and what is kept add up over ranks to those of one process, also where ranks
    // have parts of one model and gradients are accumulated. Orthonormalisation enlarges roundings.
    for (const char* kind : {"acp", "powersgd"})
        compare_layouts({"training.precision=64-true",
                         fmt::format("training.strategy.gradient_compression={{kind: {}, rank: 2, start_step: 3, "
                                     "min_ratio: 1}}",
                                     kind)},
                        1e-11, {{1, 12, 1}, {2, 3, 2}, {3, 4, 1}, {4, 3, 2, 2}});
}

TEST(LawOfLayouts, HoldsWithAGrowingRollout)
{
    compare_layouts({"training.precision=64-true", "task.rollout={start: 1, epoch_increment: 1, maximum: 3}"}, 1e-12);
}

const std::vector<LayoutCase> kShared = {{1, 12, 1}, {2, 12, 1, 2}, {3, 4, 3, 3}, {4, 3, 2, 2}, {4, 12, 1, 4}};

TEST(LawOfLayouts, HoldsForAModelOverSeveralProcesses)
{
    compare_layouts({"training.precision=64-true"}, 1e-12, kShared);
}

TEST(LawOfLayouts, HoldsForPatchesAndAGrowingRollout)
{
    compare_layouts({"training.precision=64-true", "training.strategy.partition=bisection",
                     "task.rollout={start: 1, epoch_increment: 1, maximum: 3}"},
                    1e-12, {{1, 12, 1}, {3, 12, 1, 3}, {4, 6, 1, 2}});
}

TEST(LawOfLayouts, HoldsForATruncatedResidualAndAGrowingRollout)
{
    const std::string residual = "model.residual.datasets.data.";
    const LayoutCase patches{4, 6, 1, 2, {"training.strategy.partition=bisection"}};
    compare_layouts({"training.precision=64-true", "~" + residual + "step", residual + "_target_=TruncatedConnection",
                     "+" + residual + "truncation_down_edges_name=[data, to, hidden]",
                     "+" + residual + "truncation_up_edges_name=[hidden, to, data]",
                     "+" + residual + "edge_weight_attribute=edge_length", "+" + residual + "row_normalize=true",
                     "task.rollout={start: 1, epoch_increment: 1, maximum: 2}"},
                    1e-11, {{1, 12, 1}, {2, 12, 1, 2}, {3, 4, 3, 3}, patches});
}

TEST(LawOfLayouts, ACheckpointGoesOnWithAModelGroupOfAnotherSize)
{
    const TinyTraining training;
    if (testing::in_rank())
        run_child(training, stop_where_asked);
    const auto run = [](const char* name, int n_processes, int model_size, const char* partition, int stop) {
        const int batch = 12 / (n_processes / model_size);
        const TinyRun tiny{.name = name,
                           .overrides = {"training.precision=64-true",
                                         "training.strategy.partition=" + std::string(partition),
                                         "dataloader.batch_size.training=" + std::to_string(batch),
                                         "system.hardware.num_gpus_per_model=" + std::to_string(model_size)},
                           .resume = stop != 6 && std::string(name) == "moved",
                           .n_processes = n_processes,
                           .expected_exit = stop > 0 ? int(ExitCode::Interrupted) : 0};
        if (stop > 0)
            ::setenv("GRADWIND_TEST_STOP", std::to_string(stop).c_str(), 1);
        start(tiny);
        ::unsetenv("GRADWIND_TEST_STOP");
    };
    run("whole", 1, 1, "contiguous", 0);
    run("moved", 2, 2, "contiguous", 6);
    run("moved", 4, 2, "bisection", 13);
    run("moved", 3, 3, "contiguous", 0);
    if (::testing::Test::HasFailure())
        return;
    EXPECT_LT(relative_difference(weights_of(training.run_dir("moved")), weights_of(training.run_dir("whole"))), 1e-12);
}

} // namespace
} // namespace gradwind::train
