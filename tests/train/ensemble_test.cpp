// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The law of layouts for ensembles: members on one process or on several, of models on one or on several.
#include "gradwind/core/error.h"
#include "gradwind/train/forecast.h"
#include "gradwind/train/job.h"
#include "tests/support/ranks.h"
#include "tests/train/tiny_training.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <set>

namespace gradwind::train
{
namespace
{

constexpr int kMembers = 4;
constexpr double kTolerance = 1e-11;

struct LayoutCase {
    int n_processes;
    int per_model;
    int per_ensemble; ///< processes that hold the 4 members between them
    int batch_size;   ///< of a forward pass of one ensemble; with the replicas and the accumulation always 6 samples
    int accumulation;
    [[nodiscard]] std::string name() const
    {
        return fmt::format("w{}m{}e{}b{}", n_processes, per_model, per_ensemble, batch_size);
    }
    [[nodiscard]] std::vector<std::string> overrides() const
    {
        const auto replicas = n_processes / per_ensemble;
        return {fmt::format("training.ensemble_size_per_device={}", kMembers * per_model / per_ensemble),
                fmt::format("system.hardware.num_gpus_per_model={}", per_model),
                fmt::format("system.hardware.num_gpus_per_ensemble={}", per_ensemble),
                fmt::format("dataloader.batch_size.training={}", batch_size),
                fmt::format("dataloader.batch_size.validation={}", 6 / replicas),
                fmt::format("training.accum_grad_batches={}", accumulation)};
    }
};

const std::vector<std::string> kShort = {"training.precision=64-true", "training.max_steps=8",
                                         "training.optimization.lr=5.0e-3"};

std::vector<std::string> with(std::vector<std::string> all, const std::vector<std::string>& more)
{
    all.insert(all.end(), more.begin(), more.end());
    return all;
}

void expect_near(const nlohmann::json& row, const nlohmann::json& expected, const std::string& name)
{
    EXPECT_NEAR(row[name].get<double>(), expected[name].get<double>(),
                kTolerance * std::abs(expected[name].get<double>()))
        << name;
}

/// Losses, norms of gradients, the last validation and weights of one run are those of another.
void expect_equal_runs(const std::filesystem::path& run, const std::filesystem::path& reference)
{
    const auto own = rows_of(run, "train"), losses = rows_of(reference, "train");
    const auto validation = rows_of(run, "validation"), validations = rows_of(reference, "validation");
    ASSERT_EQ(losses.size(), 8u);
    ASSERT_EQ(own.size(), losses.size());
    for (size_t step = 0; step < own.size(); ++step)
        for (const char* name : {"train_multi_dataset_loss_step", "grad_norm"})
            expect_near(own[step], losses[step], name);
    ASSERT_GE(validations.size(), 1u);
    ASSERT_EQ(validation.size(), validations.size());
    int64_t n_metrics = 0;
    for (const auto& [name, value] : validations.back().items())
        if (name.starts_with("val_")) {
            expect_near(validation.back(), validations.back(), name);
            ++n_metrics;
        }
    EXPECT_GE(n_metrics, 8) << "loss, CRPS and its wrapper";
    EXPECT_LT(relative_difference(weights_of(run), weights_of(reference)), kTolerance);
}

void compare_layouts(const std::vector<std::string>& overrides, const std::vector<LayoutCase>& cases)
{
    const TinyTraining training;
    if (testing::in_rank())
        run_child(training);
    for (const auto& layout : cases)
        start({.name = layout.name(),
               .overrides = with(overrides, layout.overrides()),
               .n_processes = layout.n_processes,
               .config = "tiny_ens"});
    if (::testing::Test::HasFailure())
        return;
    for (size_t i = 1; i < cases.size(); ++i) {
        SCOPED_TRACE(cases[i].name());
        expect_equal_runs(training.run_dir(cases[i].name()), training.run_dir(cases[0].name()));
        EXPECT_EQ(samples_of(training.run_dir(cases[i].name()), cases[i].n_processes, cases[i].per_ensemble),
                  samples_of(training.run_dir(cases[0].name()), 1));
    }
}

TEST(EnsembleLayouts, GiveOneResult)
{
    compare_layouts(kShort, {{1, 1, 1, 6, 1},
                             {2, 1, 2, 3, 2},
                             {4, 1, 4, 6, 1},
                             {2, 1, 1, 3, 1},
                             {4, 1, 2, 3, 1},
                             {3, 1, 1, 2, 1},
                             {2, 2, 2, 2, 3},
                             {3, 3, 3, 6, 1},
                             {4, 2, 4, 6, 1},
                             {4, 2, 2, 3, 1}});
}

TEST(EnsembleLayouts, GiveOneResultOverARolloutAndInPatches)
{
    compare_layouts(with(kShort, {"task.rollout={start: 2, epoch_increment: 0, maximum: 2}",
                                  "training.strategy.partition=bisection"}),
                    {{1, 1, 1, 6, 1}, {2, 1, 2, 3, 2}, {2, 2, 2, 2, 3}, {4, 2, 4, 6, 1}});
}

TEST(EnsembleLayouts, ACheckpointGoesOnWithMembersElsewhereAndItsForecastsAgree)
{
    const TinyTraining training;
    if (testing::in_rank())
        run_child(training, stop_where_asked);
    const auto run = [](const std::string& name, const LayoutCase& layout, int stop, bool resume) {
        if (stop > 0)
            ::setenv("GRADWIND_TEST_STOP", std::to_string(stop).c_str(), 1);
        start({.name = name,
               .overrides = with(kShort, layout.overrides()),
               .resume = resume,
               .n_processes = layout.n_processes,
               .expected_exit = stop > 0 ? int(ExitCode::Interrupted) : 0,
               .config = "tiny_ens"});
        ::unsetenv("GRADWIND_TEST_STOP");
    };
    run("whole", {1, 1, 1, 6, 1}, 0, false);
    run("moved", {4, 2, 4, 6, 1}, 3, false);
    run("moved", {2, 1, 2, 3, 2}, 5, true);
    run("moved", {2, 2, 2, 6, 1}, 0, true);
    if (::testing::Test::HasFailure())
        return;
    expect_equal_runs(training.run_dir("moved"), training.run_dir("whole"));

    const std::vector<std::string> period = {"dataloader.test.datasets.data.start=2000-01-08",
                                             "dataloader.test.datasets.data.end=2000-01-09T18:00:00"};
    Forecaster moved(training.run_dir("moved"), period), whole(training.run_dir("whole"), period);
    EXPECT_EQ(moved.n_members(), kMembers);
    EXPECT_EQ(whole.n_members(), kMembers);
    const auto anchor = whole.start_positions().at(0);
    const auto a = moved.run(anchor, 2), b = whole.run(anchor, 2);
    ASSERT_EQ(a.datasets[0].size(), 2u);
    for (size_t step = 0; step < 2; ++step)
        for (size_t i = 0; i < b.datasets[0][step].size(); ++i)
            ASSERT_NEAR(a.datasets[0][step][i], b.datasets[0][step][i], 1e-5 * std::abs(b.datasets[0][step][i]) + 1e-5);
    // The mean of more members is another one.
    Forecaster more(training.run_dir("whole"), with(period, {"training.ensemble_size_per_device=8"}));
    EXPECT_EQ(more.n_members(), 8);
    EXPECT_NE(more.run(anchor, 1).datasets, whole.run(anchor, 1).datasets);

    // Another number of members is another training.
    start({.name = "moved",
           .overrides = with(kShort, {"training.ensemble_size_per_device=3"}),
           .resume = true,
           .expected_exit = int(ExitCode::Checkpoint),
           .config = "tiny_ens"});
}

TEST(EnsembleNoise, IsFreshForEverythingThatCounts)
{
    // The first numbers of all draws that a run of two epochs makes: none may come twice.
    Job job{.config = {},
            .settings = {},
            .groups = parallel::make_groups(parallel::Layout({}), parallel::Group::self("world"))};
    job.settings.members_per_process = 2;
    std::set<float> seen;
    int64_t n_drawn = 0;
    const auto draw = [&](NoisePurpose purpose, int64_t step, int64_t rollout_step) {
        const auto noise =
            job.noise(purpose, step, {0, 1, 2})
                .draw({.batch = 3, .members = 2, .n_nodes = 5, .channels = 4, .rollout_step = rollout_step});
        for (int64_t i = 0; i < noise.numel(); ++i, ++n_drawn)
            seen.insert(noise.data_ptr<float>()[i]);
    };
    for (const auto purpose : {NoisePurpose::Training, NoisePurpose::Validation, NoisePurpose::Forecast})
        for (int64_t step = 0; step < 4; ++step)
            for (int64_t rollout_step = 0; rollout_step < 2; ++rollout_step)
                draw(purpose, step, rollout_step);
    EXPECT_GT(n_drawn, 2800);
    EXPECT_GE(int64_t(seen.size()), n_drawn - 3) << "a float32 may come twice by chance";
}

} // namespace
} // namespace gradwind::train
