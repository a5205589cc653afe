// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/settings.h"

#include "gradwind/core/error.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace gradwind::train
{
namespace
{

nlohmann::json minimal()
{
    return {{"data", {{"datasets", {{"data", nlohmann::json::object()}}}}},
            {"task", {{"_target_", "anemoi.training.tasks.Forecaster"}, {"timestep", "6H"}}},
            {"training", {{"max_steps", 100}}}};
}

/// Minimal settings with one value put at a dotted path.
Config with(const std::string& path, const nlohmann::json& value)
{
    auto json = minimal();
    auto* node = &json;
    size_t at = 0;
    for (size_t dot = 0; (dot = path.find('.', at)) != std::string::npos; at = dot + 1)
        node = &(*node)[path.substr(at, dot - at)];
    (*node)[path.substr(at)] = value;
    return Config::from_json(json, "test.yaml");
}

TEST(TrainSettings, DefaultsAreTheOriginals)
{
    const auto settings = TrainSettings::from_config(Config::from_json(minimal(), "test.yaml"), {});
    EXPECT_EQ(settings.optimizer.beta2, 0.95);
    EXPECT_EQ(settings.optimizer.weight_decay, 0.01);
    EXPECT_EQ(settings.seed.value, 42u);
    EXPECT_EQ(settings.sample_order, SampleOrder::Global);
    EXPECT_EQ(settings.clip.kind, ClipKind::None);
    EXPECT_EQ(settings.max_steps, 100);
}

TEST(TrainSettings, BaseSeedSaysWhoSetIt)
{
    const std::map<std::string, std::string> both = {{"ANEMOI_BASE_SEED", "7"}, {"SLURM_JOB_ID", "99"}};
    const auto seed = [](const Config& config, const std::map<std::string, std::string>& environment) {
        const auto found = resolve_base_seed(config, environment);
        return std::to_string(found.value) + " " + found.source;
    };
    EXPECT_EQ(seed(with("training.seed", 3), both), "3 training.seed");
    EXPECT_EQ(seed(with("training.max_steps", 1), both), "7 ANEMOI_BASE_SEED");
    EXPECT_EQ(seed(with("training.max_steps", 1), {{"SLURM_JOB_ID", "99"}}), "42 default");
    EXPECT_EQ(seed(with("training.seed", "anemoi"), {{"SLURM_JOB_ID", "99"}}), "99 SLURM_JOB_ID");
    EXPECT_THROW((void)resolve_base_seed(with("training.seed", "many"), {}), ConfigError);
}

TEST(TrainSettings, WorkersRestartWhileTheRolloutGrows)
{
    const auto settings = TrainSettings::from_config(with("task.rollout.epoch_increment", 2), {});
    EXPECT_EQ(settings.stream, Stream::RestartedEachEpoch);
}

struct BadRow {
    const char* path;
    nlohmann::json value;
    const char* expected; ///< part of the message
};

class BadSettings : public ::testing::TestWithParam<BadRow>
{
};

TEST_P(BadSettings, GiveOneClearError)
{
    const auto& row = GetParam();
    try {
        (void)TrainSettings::from_config(with(row.path, row.value), {});
        FAIL() << "no error for " << row.path;
    } catch (const ConfigError& e) {
        EXPECT_NE(std::string(e.what()).find(row.expected), std::string::npos) << e.what();
    }
}

INSTANTIATE_TEST_SUITE_P(
    Table, BadSettings,
    ::testing::Values(
        BadRow{"training.precision", "bf16-mix", "did you mean `bf16-mixed`?"},
        BadRow{"training.max_steps", 0, "at least 1"}, BadRow{"training.max_steps", nullptr, "the run would not end"},
        BadRow{"training.accum_grad_batches", 0, "at least 1"},
        BadRow{"training.gradient_clip", {{"val", 1.0}, {"algorithm", "l2"}}, "value, norm"},
        BadRow{"training.gradient_clip", {{"val", -1.0}}, "found -1"},
        BadRow{"training.optimization", {{"lr", -1e-3}}, "training.optimization.lr"},
        BadRow{"training.optimization", {{"lr_scaling", "linear"}}, "anemoi, none"},
        BadRow{"training.optimization", {{"optimizer", {{"_target_", "torch.optim.SGD"}}}}, "expected AdamW"},
        BadRow{"training.optimization", {{"optimizer", {{"betas", {0.9, 1.5}}}}}, "two numbers of [0, 1)"},
        BadRow{"training.optimization", {{"lr_scheduler", {{"_target_", "StepLR"}}}}, "CosineLRScheduler"},
        BadRow{"training.optimization", {{"lr_scheduler", {{"cycle_limit", 2}}}}, "cycle_limit"},
        BadRow{"training.optimization",
               {{"optimizer", {{"_target_", "ZeroRedundancyOptimizer"}, {"optimizer_class", "torch.optim.SGD"}}}},
               "expected AdamW"},
        BadRow{"training.method", {{"_target_", "EnsembleTraining"}}, "do not go together"},
        BadRow{"training.method", {{"_target_", "DiffusionTraining"}}, "SingleTraining or EnsembleTraining"},
        BadRow{"training.ensemble_size_per_device", 2, "only training.method EnsembleTraining has members"},
        BadRow{"training.strategy", {{"_target_", "DDPEnsGroupStrategy"}}, "use DDPGroupStrategy"},
        BadRow{"dataloader.sample_order", "random", "global, anemoi"},
        BadRow{"dataloader.batch_size", {{"training", 0}}, "dataloader.batch_size.training"},
        BadRow{"dataloader.limit_batches", {{"validation", 1.5}}, "0 ... 1"},
        BadRow{"task.timestep", "6 fortnights", "is not a time step"},
        BadRow{"task._target_", "Autoencoder", "expected `Forecaster`"},
        BadRow{"task.rollout", {{"start", 0}}, "task.rollout.start"},
        BadRow{"data.datasets", nlohmann::json::object(), "at least one data set"},
        BadRow{"diagnostics.log", {{"interval", 0}}, "diagnostics.log.interval"}));

} // namespace
} // namespace gradwind::train
