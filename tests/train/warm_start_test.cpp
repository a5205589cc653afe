// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Trainings that begin with the weights or all of the state of others, and run folders through the exchange format
// without Python.
#include "gradwind/train/warm_start.h"

#include "gradwind/core/config_loader.h"
#include "gradwind/core/error.h"
#include "gradwind/core/safetensors.h"
#include "gradwind/model/processors.h"
#include "gradwind/ops/tensor_io.h"
#include "gradwind/train/exchange.h"
#include "gradwind/train/forecast.h"
#include "gradwind/train/run_config.h"
#include "tests/train/tiny_training.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

namespace gradwind::train
{
namespace
{

namespace fs = std::filesystem;

class NoteSink : public NoProgress
{
public:
    void note(const std::string& line) override { text += line + "\n"; }
    std::string text;
};

class WarmStartTest : public ::testing::Test
{
protected:
    /// @return what the run said
    std::string train(const std::string& name, std::vector<std::string> overrides) const
    {
        overrides.insert(overrides.begin(), {"system.input.dataset=" + training_.run_dir("tiny.zarr").string(),
                                             "training.max_steps=2", "dataloader.test.datasets.data.start=2000-01-08",
                                             "dataloader.test.datasets.data.end=2000-01-09T18:00:00"});
        const auto config = load_config({.file = training_.config_file(), .overrides = overrides});
        NoteSink notes;
        (void)run_training(config, parallel::resolve_environment({}),
                           {.run_dir = folder(name), .resume = std::nullopt, .reference = std::nullopt}, notes);
        return notes.text;
    }

    /// A training of one step that begins with the weights of another; the first step of a warm-up has a rate of 0.
    std::string begin(const std::string& name, const std::string& from, std::vector<std::string> overrides = {}) const
    {
        overrides.insert(overrides.begin(), {"system.input.warm_start=" + folder(from).string(),
                                             "training.load_weights_only=true", "training.max_steps=1"});
        return train(name, overrides);
    }

    std::string refusal(const std::string& from, const std::vector<std::string>& overrides) const
    {
        try {
            (void)begin("refused", from, overrides);
        } catch (const Error& error) {
            return error.what();
        }
        return "nothing was refused";
    }

    [[nodiscard]] fs::path folder(const std::string& name) const { return training_.run_dir(name); }

    static bool equal(const fs::path& a, const fs::path& b)
    {
        const auto left = weights_of(a), right = weights_of(b);
        return left.size() == right.size() && std::all_of(left.begin(), left.end(), [&](const auto& item) {
                   return right.contains(item.first) && at::equal(item.second, right.at(item.first));
               });
    }

    static std::vector<float> forecast(const fs::path& run)
    {
        Forecaster forecaster(run, {});
        return forecaster.run(forecaster.start_positions().front(), 1).datasets[0].front();
    }

    /// Goes on with a run in its own folder.
    std::string resume(const std::string& name, const std::vector<std::string>& overrides) const
    {
        NoteSink notes;
        (void)run_training(load_run_config(folder(name), overrides), parallel::resolve_environment({}),
                           {.run_dir = folder(name), .resume = folder(name), .reference = std::nullopt}, notes);
        return notes.text;
    }

    /// Doubles the normalisation that a checkpoint holds.
    void change_normalisation(const std::string& run) const
    {
        const auto file = Checkpoint::open(folder(run)).folder / "state.json";
        auto state = nlohmann::json::parse(std::ifstream(file));
        for (auto& factor : state["processors"]["data"]["normalizer"]["_norm_mul"])
            factor = 2 * factor.get<double>();
        std::ofstream(file) << state;
    }

    TinyTraining training_;
};

bool has(const std::string& text, const char* words)
{
    return text.find(words) != std::string::npos;
}

TEST_F(WarmStartTest, TakesWeightsAndNormalisationAndNothingElse)
{
    (void)train("first", {});
    change_normalisation("first");
    const auto said = begin("second", "first");
    EXPECT_TRUE(has(said, "begins with the weights of")) << said;
    EXPECT_TRUE(equal(folder("first"), folder("second")));
    EXPECT_EQ(forecast(folder("second")), forecast(folder("first"))) << "the changed normalisation came along";
    (void)begin("third", "first", {"training.update_ds_stats_on_ckpt_load.states=true"});
    EXPECT_TRUE(equal(folder("first"), folder("third")));
    EXPECT_NE(forecast(folder("third")), forecast(folder("first"))) << "that of the data set was asked for";
    const auto state = Checkpoint::open(folder("second")).state;
    EXPECT_EQ(state["step"], 1);
    EXPECT_EQ(state["samples_seen"], 12);
}

TEST_F(WarmStartTest, NamesEveryWeightAndVariableThatDiffers)
{
    (void)train("first", {});
    const auto shapes = refusal("first", {"model.num_channels=16", "model.processor.num_channels=16"});
    EXPECT_TRUE(has(shapes, "has shape [8") && has(shapes, "expected [16")) << shapes;
    const auto variables = refusal(
        "first", {"data.datasets.data.forcing=[cos_latitude]", "data.datasets.data.diagnostic=[v_500]",
                  "dataloader.dataset={dataset: \"" + folder("tiny.zarr").string() + "\", rename: {q_500: tracer}}"});
    EXPECT_TRUE(has(variables, "`insolation` was forcing, is prognostic")) << variables;
    EXPECT_TRUE(has(variables, "`v_500` was prognostic, is diagnostic")) << variables;
    EXPECT_TRUE(has(variables, "`q_500` (prognostic) is missing")) << variables;
    EXPECT_TRUE(has(variables, "`tracer` (prognostic) is new")) << variables;
    const auto lost = refusal("nowhere", {});
    EXPECT_TRUE(has(lost, "nowhere")) << lost;
}

TEST_F(WarmStartTest, TransferLearningTakesWhatFits)
{
    (void)train("first", {});
    const auto said = begin("second", "first", {"training.transfer_learning=true", "model.processor.num_layers=2"});
    EXPECT_TRUE(has(said, "processor.proc.1.") && has(said, "keep their initial values")) << said;
    const auto before = weights_of(folder("first")), after = weights_of(folder("second"));
    for (const auto& [name, tensor] : before)
        EXPECT_TRUE(at::equal(tensor, after.at(name))) << name;
    EXPECT_GT(after.size(), before.size());
}

/// A period that does not follow from the number of steps, so that runs of differing length have one schedule.
const std::vector<std::string> kSchedule = {"training.optimization.lr_scheduler.t_initial=20"};

std::vector<std::string> with_schedule(std::vector<std::string> overrides)
{
    overrides.insert(overrides.end(), kSchedule.begin(), kSchedule.end());
    return overrides;
}

TEST_F(WarmStartTest, AForkGoesOnAsItsRunWould)
{
    (void)train("first", with_schedule({"training.max_steps=3"}));
    (void)train("whole", with_schedule({"training.max_steps=6"}));
    const auto said = train("fork", with_schedule({"training.fork_run_id=" + folder("first").string(),
                                                   "training.max_steps=6", "training.optimization.lr=7.0"}));
    EXPECT_TRUE(has(said, "a fork of") && has(said, "at step 3")) << said;
    EXPECT_TRUE(has(said, "keeps the effective learning rate 0.002")) << said;
    EXPECT_TRUE(equal(folder("whole"), folder("fork"))) << "weights, moments, rate and samples are those of the run";
    EXPECT_EQ(Checkpoint::open(folder("first")).state["step"], 3) << "the other run is as it was";
    const auto rows = rows_of(folder("fork"), "train");
    ASSERT_EQ(rows.size(), 3U);
    EXPECT_EQ(rows.front()["step"], 4) << "its log is its own";
    (void)train("named", with_schedule({"training.fork_run_id=first", "training.max_steps=6",
                                        "system.output.root=" + folder("first").parent_path().string()}));
    EXPECT_TRUE(equal(folder("whole"), folder("named"))) << "by its name below system.output.root";
    (void)train("warm", with_schedule({"system.input.warm_start=" + folder("first").string(), "training.max_steps=3"}));
    EXPECT_TRUE(equal(folder("first"), folder("warm"))) << "a run that has nothing to do has a checkpoint all the same";
    (void)train("weights", with_schedule({"training.fork_run_id=" + folder("first").string(), "training.max_steps=1",
                                          "training.load_weights_only=true"}));
    EXPECT_EQ(Checkpoint::open(folder("weights")).state["step"], 1) << "weights alone, if that is asked for";
    EXPECT_THROW((void)train("other", with_schedule({"training.fork_run_id=" + folder("first").string(),
                                                     "model.processor.num_layers=2"})),
                 CheckpointError);
    EXPECT_THROW((void)train("lost", with_schedule({"training.fork_run_id=nowhere"})), CheckpointError);
}

TEST_F(WarmStartTest, KeysThatDoNotGoTogetherAreRefused)
{
    const auto refused = [&](const std::vector<std::string>& overrides) {
        try {
            (void)train("refused", overrides);
        } catch (const ConfigError& error) {
            return std::string(error.what());
        }
        return std::string("nothing was refused");
    };
    EXPECT_TRUE(has(refused({"training.load_weights_only=true"}), "system.input.warm_start"));
    EXPECT_TRUE(has(refused({"training.transfer_learning=true"}), "load_weights_only"));
    EXPECT_TRUE(has(refused({"system.input.warm_start=first", "training.fork_run_id=first"}), "keep one of them"));
    EXPECT_TRUE(has(refused({"training.fork_run_id=a.ckpt"}), "gradwind import"));
    EXPECT_TRUE(has(refused({"system.input.warm_start=a.ckpt", "training.load_weights_only=true"}), "gradwind import"));
}

TEST_F(WarmStartTest, AnExchangedRunIsTheSameRun)
{
    (void)train("first", {"training.max_steps=4"});
    change_normalisation("first");
    export_exchange(folder("first"), {}, folder("exchange"));
    const auto imported = import_exchange(folder("exchange"), folder("imported"));
    EXPECT_EQ(imported.step, 4);
    for (const auto& note : imported.notes)
        EXPECT_FALSE(has(note, "cannot run")) << note;
    EXPECT_TRUE(equal(folder("first"), folder("imported")));
    EXPECT_EQ(forecast(folder("first")), forecast(folder("imported")));
    export_exchange(folder("imported"), {}, folder("again"));
    for (const char* name : {"weights", "processors", "graph", "statistics"}) {
        const SafetensorsFile a(folder("exchange") / (std::string(name) + ".safetensors"));
        const SafetensorsFile b(folder("again") / (std::string(name) + ".safetensors"));
        ASSERT_EQ(a.tensors().size(), b.tensors().size()) << name;
        for (const auto& [tensor, info] : a.tensors())
            EXPECT_TRUE(std::ranges::equal(a.bytes(tensor), b.bytes(tensor))) << name << ": " << tensor;
    }
    EXPECT_THROW((void)import_exchange(folder("exchange"), folder("imported")), ConfigError);
    EXPECT_THROW((void)import_exchange(folder("tiny.zarr"), folder("new")), DataError);
    (void)begin("tuned", "imported");
    EXPECT_TRUE(equal(folder("first"), folder("tuned")));
    EXPECT_TRUE(fs::exists(folder("tuned") / kRunGraph)) << "the graph that the weights belong to comes along";
}

TEST_F(WarmStartTest, AnImportedTrainingGoesOn)
{
    // Epochs that begin anew, because an import knows no stream of random numbers.
    const std::vector<std::string> common = with_schedule({"dataloader.persistent_workers=false"});
    const auto steps = [&](const char* n) {
        auto overrides = common;
        overrides.push_back(std::string("training.max_steps=") + n);
        return overrides;
    };
    (void)train("first", steps("4"));
    (void)train("whole", steps("7"));
    export_exchange(folder("first"), {}, folder("exchange"));
    const auto imported = import_exchange(folder("exchange"), folder("imported"));
    EXPECT_TRUE(imported.is_resumable);
    (void)resume("imported", {"training.max_steps=7"});
    const auto expected = weights_of(folder("whole"));
    EXPECT_LT(relative_difference(weights_of(folder("imported")), expected), 1e-6);

    const auto description = nlohmann::json::parse(std::ifstream(folder("exchange") / "exchange.json"));
    const auto refusal_of = [&](nlohmann::json changed, const std::string& name) {
        std::ofstream(folder("exchange") / "exchange.json") << changed;
        EXPECT_FALSE(import_exchange(folder("exchange"), folder(name)).is_resumable);
        try {
            (void)resume(name, {"training.max_steps=7"});
        } catch (const CheckpointError& error) {
            return std::string(error.what());
        }
        return std::string("nothing was refused");
    };
    auto without = description;
    without["training"] = nullptr;
    without["not_resumable"] = "its optimiser is of another kind";
    EXPECT_TRUE(has(refusal_of(without, "without"), "its optimiser is of another kind"));
    auto later = description;
    later["training"]["effective_lr"] = 1.0;
    std::ofstream(folder("exchange") / "exchange.json") << later;
    (void)import_exchange(folder("exchange"), folder("fast"));
    (void)resume("fast", {"training.max_steps=7"});
    EXPECT_GT(relative_difference(weights_of(folder("fast")), expected), 1e-2) << "the rate of the checkpoint counts";

    auto moments = ops::read_tensors(SafetensorsFile(folder("exchange") / "optimizer.safetensors"));
    moments["exp_avg.encoder.nobody"] = at::zeros({2});
    ops::write_tensors(folder("exchange") / "optimizer.safetensors", {moments.begin(), moments.end()});
    EXPECT_TRUE(has(refusal_of(description, "strange"), "exp_avg.encoder.nobody"));
}

TEST_F(WarmStartTest, AnImputersValuesComeWithTheCheckpoint)
{
    const VariableTable variables({"a", "b"}, {}, {});
    const auto section = Config::from_json(
        {{"imputer", {{"_target_", "InputImputer"}, {"config", {{"default", "none"}, {"mean", {"b"}}}}}}}, "test");
    const auto filled = [&](const nlohmann::json& state) {
        Statistics statistics{{1, 2}, {1, 1}, {0, 0}, {9, 9}};
        std::vector<ModelDataset> datasets;
        datasets.push_back({"data", variables, statistics, model::build_processors(section, {variables, statistics})});
        load_processors(state, datasets, "test");
        const auto x = at::full({1, 1, 1, 1, 2}, std::numeric_limits<double>::quiet_NaN(), at::kDouble);
        (void)datasets[0].processors.transform(x, model::Space::Dataset);
        EXPECT_EQ(processor_state(datasets)["data"]["imputer"]["replacement"][0], x.select(4, 1).item<double>());
        return x.select(4, 1).item<double>();
    };
    EXPECT_EQ(filled({{"processors", {{"data", {{"imputer", {{"replacement", {0.125}}}}}}}}}), 0.125);
    EXPECT_EQ(filled({{"processors", {{"imputer", {{"replacement", {0.125}}}}}}}), 0.125) << "of an earlier version";
    EXPECT_EQ(filled({{"processors", nlohmann::json::object()}}), 2) << "of the data set, where a checkpoint has none";
}

} // namespace
} // namespace gradwind::train
