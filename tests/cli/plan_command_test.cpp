// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/cli/plan_command.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/process.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <sstream>

namespace gradwind::cli
{
namespace
{

std::string output_of(const PlanCommand& command)
{
    std::ostringstream out;
    EXPECT_EQ(run(command, out), 0);
    return out.str();
}

nlohmann::json json_of(PlanCommand command)
{
    command.format = PlanCommand::Format::Json;
    return nlohmann::json::parse(output_of(command));
}

/// A folder with one configuration file.
struct ConfigFile {
    explicit ConfigFile(const std::string& text) { std::ofstream(path()) << text; }
    [[nodiscard]] std::filesystem::path path() const { return folder.path() / "config.yaml"; }
    parallel::PrivateFolder folder;
};

TEST(PlanCommand, FirstExampleIsTwoNodesOfFourWithEffectiveBatchSixteen)
{
    const std::string text = output_of({});
    EXPECT_NE(text.find("2 nodes x 4 = 8"), std::string::npos) << text;
    EXPECT_NE(text.find("4 per replica x 4 replicas = 16 samples per optimiser step"), std::string::npos) << text;
    EXPECT_NE(text.find("6.25e-05 x 2 nodes x 4 GPUs / 2 per model = 0.00025"), std::string::npos) << text;
    EXPECT_NE(text.find("    7     1    3  6,7            6,7            samples 12-15, cells: part 2 of 2"),
              std::string::npos)
        << text;
}

TEST(PlanCommand, ConfigurationAndWorldDecide)
{
    const ConfigFile file("system: {hardware: {num_nodes: 1, num_gpus_per_node: 4, num_gpus_per_model: 4}}\n"
                          "dataloader: {batch_size: {training: 3}, read_group_size: 2}\n"
                          "training: {accum_grad_batches: 2, optimization: {lr: 0.001}}\n");
    const auto plan =
        json_of({.config = file.path(), .world = "8x4", .overrides = {"dataloader.batch_size.training=5"}});
    EXPECT_EQ(plan["world"], 32);
    EXPECT_EQ(plan["replicas"], 8);
    EXPECT_EQ(plan["effective_batch"], 5 * 8 * 2);
    EXPECT_DOUBLE_EQ(plan["effective_learning_rate"], 0.008);
    EXPECT_EQ(plan["ranks"].size(), 32u);
    EXPECT_EQ(plan["ranks"][6]["model_group"]["ranks"], (nlohmann::json{4, 5, 6, 7}));
    EXPECT_EQ(plan["ranks"][6]["reader_group"]["ranks"], (nlohmann::json{6, 7}));
    EXPECT_EQ(plan["ranks"][6]["samples"], (nlohmann::json{10, 20}));
    EXPECT_THROW(output_of({.config = file.path(), .world = "3x2"}), ConfigError);
    EXPECT_THROW(output_of({.config = file.path(), .world = "many"}), ConfigError);
    EXPECT_THROW(output_of({.overrides = {"a=1"}}), ConfigError);
}

TEST(PlanCommand, EnsembleJobsShowTheirGroups)
{
    const ConfigFile file(
        "system: {hardware: {num_nodes: 1, num_gpus_per_node: 8, num_gpus_per_model: 2, num_gpus_per_ensemble: 4}}\n"
        "training: {ensemble_size_per_device: 1, strategy: {_target_: "
        "anemoi.training.distributed.strategy.DDPEnsGroupStrategy}}\n");
    const auto plan = json_of({.config = file.path()});
    EXPECT_EQ(plan["replicas"], 2);
    EXPECT_EQ(plan["members"], 2);
    EXPECT_EQ(plan["ranks"][3]["ensemble_subgroup"]["ranks"], (nlohmann::json{1, 3}));
    EXPECT_NE(output_of({.config = file.path()}).find("ensemble groups  2 of 4: 2 members each"), std::string::npos);
}

} // namespace
} // namespace gradwind::cli
