// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/run_config.h"

#include "gradwind/core/error.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace gradwind::train
{
namespace
{

namespace fs = std::filesystem;

/// A run folder whose configuration names its data set in three places, as a resolved one does.
class RunConfig : public testing::Test
{
protected:
    RunConfig()
    {
        fs::create_directories(folder_ / "checkpoints" / "step_000001");
        std::ofstream(folder_ / "config.yaml") << "system: {input: {dataset: old.zarr, graph: null}}\n"
                                                  "dataloader:\n"
                                                  "  dataset: old.zarr\n"
                                                  "  training: {datasets: {data: {start: old.zarr.txt, "
                                                  "dataset_config: {dataset: old.zarr}}}}\n";
    }
    ~RunConfig() override { fs::remove_all(folder_); }

    fs::path folder_ = fs::temp_directory_path() / ("gradwind-run-config-" + std::to_string(::getpid()));
};

TEST_F(RunConfig, AMovedDataSetIsReplacedWhereverItIsNamed)
{
    const auto config = load_run_config(folder_, {"system.input.dataset=new.zarr"});
    EXPECT_EQ(config.get<std::string>("system.input.dataset"), "new.zarr");
    EXPECT_EQ(config.get<std::string>("dataloader.dataset"), "new.zarr");
    EXPECT_EQ(config.get<std::string>("dataloader.training.datasets.data.dataset_config.dataset"), "new.zarr");
    EXPECT_EQ(config.get<std::string>("dataloader.training.datasets.data.start"), "old.zarr.txt");
    EXPECT_EQ(load_run_config(folder_, {}).get<std::string>("dataloader.dataset"), "old.zarr");
}

TEST_F(RunConfig, AGraphInTheFolderIsTheRunsUnlessAnotherIsNamed)
{
    EXPECT_FALSE(load_run_config(folder_, {}).has("system.input.graph"));
    std::ofstream(folder_ / kRunGraph) << "graph";
    const auto config = load_run_config(folder_, {});
    EXPECT_EQ(config.get<std::string>("system.input.graph"), (folder_ / kRunGraph).string());
    EXPECT_FALSE(config.get<bool>("graph.overwrite"));
    EXPECT_EQ(load_run_config(folder_, {"system.input.graph=mine"}).get<std::string>("system.input.graph"), "mine");
}

TEST_F(RunConfig, IsFoundFromARunItsCheckpointsOrOneOfThem)
{
    EXPECT_EQ(run_folder_of(folder_), folder_);
    EXPECT_EQ(run_folder_of(folder_ / "checkpoints"), folder_);
    EXPECT_EQ(run_folder_of(folder_ / "checkpoints" / "step_000001"), folder_);
    EXPECT_THROW((void)run_folder_of(folder_.parent_path() / "absent"), CheckpointError);
}

} // namespace
} // namespace gradwind::train
