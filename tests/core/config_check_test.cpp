// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/config_loader.h"
#include "gradwind/core/config_schema.h"
#include "gradwind/core/config_yaml.h"
#include "gradwind/core/error.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace gradwind
{
namespace
{

std::filesystem::path golden()
{
    const char* folder = std::getenv("GRADWIND_GOLDEN");
    return folder ? folder : GRADWIND_SOURCE_DIR "/../shared/golden";
}

/// What a check says about a YAML text: "" if it passes.
std::string complaint(const std::string& yaml, const std::vector<std::string>& overrides = {})
{
    const auto folder = std::filesystem::temp_directory_path() / ("gradwind-check-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder);
    const auto file = folder / "x.yaml";
    std::ofstream(file) << yaml;
    std::string message;
    try {
        static_cast<void>(check_config(load_config({file, overrides})));
    } catch (const ConfigError& error) {
        message = error.what();
    }
    std::filesystem::remove_all(folder);
    for (auto at = message.find(folder.string()); at != std::string::npos; at = message.find(folder.string()))
        message.erase(at, folder.string().size() + 1);
    return message;
}

struct BadInput {
    const char* yaml;
    const char* message;
    std::vector<std::string> overrides = {};
};

class BadConfig : public testing::TestWithParam<BadInput>
{
};

TEST_P(BadConfig, GivesOneClearMessage)
{
    EXPECT_EQ(complaint(GetParam().yaml, GetParam().overrides), GetParam().message);
}

const BadInput bad_inputs[] = {
    // keys
    {"training:\n  max_step: 3\n",
     "[config] unknown key `training.max_step` (x.yaml:2) (did you mean `training.max_steps`?)"},
    {"trainig:\n  max_steps: 3\n", "[config] unknown key `trainig` (x.yaml:1) (did you mean `training`?)"},
    {"training:\n  optimization:\n    max_steps: 3\n",
     "[config] unknown key `training.optimization.max_steps` (x.yaml:3) (did you mean `training.max_steps`?)"},
    {"",
     "[config] unknown key `training.max_step` (command line) (did you mean `training.max_steps`?)",
     {"training.max_step=3"}},
    {"model:\n  processor:\n    _target_: GNNProcessor\n    num_heads: 4\n",
     "[config] unknown key `model.processor.num_heads` (x.yaml:4) (did you mean `model.processor.num_chunks`?)"},
    {"graph:\n  edges:\n    - source_name: data\n      edge_builders:\n        - {_target_: KNNEdges, neighbours: 3}\n",
     "[config] unknown key `graph.edges.0.edge_builders.0.neighbours` (x.yaml:5) (did you mean "
     "`graph.edges.0.edge_builders.0.num_nearest_neighbours`?)"},
    {"dataloader:\n  dataset: {dataset: a.zarr, thining: 2}\n",
     "[config] unknown key `dataloader.dataset.thining` (x.yaml:2) (did you mean `dataloader.dataset.thinning`?)"},
    {"dataloader:\n  batch_size: {evaluate_now: 2}\n",
     "[config] unknown key `dataloader.batch_size.evaluate_now` (x.yaml:2); known here: training, validation, test"},
    // classes
    {"model:\n  processor: {_target_: anemoi.models.GNNProcesor}\n",
     "[config] key `model.processor._target_` (x.yaml:2): unknown layer stack `GNNProcesor` (did you mean "
     "`GNNProcessor`?); "
     "there are: GNNProcessor, GraphTransformerProcessor, NoOpProcessor, PointWiseMLPProcessor, TransformerProcessor"},
    {"model:\n  residual:\n    datasets:\n      data: {step: -1}\n",
     "[config] key `model.residual.datasets.data` (x.yaml:4) needs a `_target_`: the class of the residual"},
    // types
    {"training:\n  max_steps: many\n",
     "[config] key `training.max_steps` (x.yaml:2) must be an integer, but it is a string `many`"},
    {"training:\n  max_steps: 1.5\n",
     "[config] key `training.max_steps` (x.yaml:2) must be an integer, but it is a number `1.5`"},
    {"training:\n  deterministic: 1\n",
     "[config] key `training.deterministic` (x.yaml:2) must be true or false, but it is an integer `1`"},
    {"training: 3\n", "[config] key `training` (x.yaml:1) must be a mapping, but it is an integer `3`"},
    {"training: [1]\n", "[config] key `training` (x.yaml:1) must be a mapping, but it is a list"},
    {"graph:\n  edges: none\n", "[config] key `graph.edges` (x.yaml:2) must be a list, but it is a string `none`"},
    {"data:\n  datasets:\n    data:\n      forcing: lsm\n",
     "[config] key `data.datasets.data.forcing` (x.yaml:4) must be a list of strings, but it is a string `lsm`"},
    // ranges
    {"training:\n  max_steps: 0\n", "[config] key `training.max_steps` (x.yaml:2) must be >= 1 (steps), but it is 0"},
    {"training:\n  optimization:\n    optimizer: {betas: [0.9, 1.5]}\n",
     "[config] key `training.optimization.optimizer.betas.1` (x.yaml:3) must be in 0 .. 1, but it is 1.5"},
    {"training:\n  precision: bf16\n",
     "[config] key `training.precision` (x.yaml:2) must be one of 32-true, 64-true, bf16-mixed, 16-mixed, but it is "
     "`bf16` (did you mean `bf16-mixed`?)"},
    {"system:\n  hardware:\n    num_gpus_per_model: ${oc.env:GRADWIND_TEST_ZERO,0}\n",
     "[config] key `system.hardware.num_gpus_per_model` (x.yaml:3) must be >= 1 (processes), but it is 0"},
    // what must be set
    {"system:\n  input:\n    dataset: ???\n",
     "[config] key `system.input.dataset` (x.yaml:3) must be set: it is `???`"},
    {"defaults: [config, _self_]\n",
     "[config] key `system.input.dataset` (packaged system/input/example:4) must be set: it is `???`"},
    // references
    {"training:\n  max_steps: ${training.steps}\n",
     "[config] x.yaml:2: `${training.steps}` refers to a key that does not exist (did you mean `training.max_steps`?)"},
    {"data:\n  frequency: ${data.timestep}\n  timestep: ${data.frequency}\n",
     "[config] x.yaml:2: references go in a circle: data.frequency -> data.timestep -> data.frequency"},
    {"system:\n  output:\n    root: ${oc.env:GRADWIND_TEST_ABSENT}\n",
     "[config] x.yaml:3: the environment variable `GRADWIND_TEST_ABSENT` is not set; set it, or give a default: "
     "${oc.env:GRADWIND_TEST_ABSENT,value}"},
    {"system:\n  output:\n    root: ${oc.en:HOME}\n",
     "[config] x.yaml:3: unknown resolver `oc.en` (did you mean `oc.env`?); there are: oc.env, oc.decode, oc.select"},
    {"system:\n  output:\n    root: a/${system.hardware}\n  hardware: {num_nodes: 1}\n",
     "[config] x.yaml:3: `a/${system.hardware}` inserts a list or mapping into text"},
    {"system:\n  output:\n    root: a/${system.hardware\n",
     "[config] x.yaml:3: `a/${system.hardware` has a `${` that is not closed"},
    // composition
    {"defaults:\n- model: gn\n",
     "[config] x.yaml:2: `gn` is not a choice of `model` (did you mean `gnn`?); there are: gnn, graphtransformer, "
     "graphtransformer_ens, graphtransformer_multi, point_wise, "
     "transformer, transformer_ens, transformer_transformermapper"},
    {"defaults: gnn\n", "[config] x.yaml:1: `defaults` must be a list"},
    {"defaults: [_self_, _self_]\n", "[config] x.yaml:1: `_self_` is there twice"},
    {"defaults:\n- {model: gnn, task: forecaster}\n",
     "[config] x.yaml:2: a `defaults` entry has one `group: name`, not 2"},
    {"- a\n- b\n", "[config] x.yaml:1: a configuration is a mapping of keys to values"},
    {"a: 1\na: 2\n", "[config] x.yaml:2: key `a` is there twice"},
    {"a: 1\nb: [1, 2\n", "[config] x.yaml:3: bad YAML: end of sequence flow not found"},
    {"a: {b: 1}}\n", "[config] x.yaml:1: bad YAML: illegal flow end"},
    {"a: 1\n---\nb: 2\n", "[config] x.yaml:2: a second YAML document begins where the first should have ended"},
    // overrides
    {"", "[config] command line: training: an override is key=value, +key=value, ++key=value or ~key", {"training"}},
    {"", "[config] command line: ~training.run_id: there is no key `training.run_id` to remove", {"~training.run_id"}},
    {"training: {max_steps: 3}\n",
     "[config] command line: +training.max_steps=4: key `training.max_steps` is there already; write `++` to change it",
     {"+training.max_steps=4"}},
    {"",
     "[config] command line: model=gnn: nothing in `defaults` chooses `model`; write `+model=gnn` to add it",
     {"model=gnn"}},
    {"", "[config] command line: training.max_steps=[1: `[1` is not a value in YAML", {"training.max_steps=[1"}},
    {"data: {datasets: {data: {forcing: [a]}}}\n",
     "[config] command line: data.datasets.data.forcing.1=b: the list has 1 elements, there is no `1`",
     {"data.datasets.data.forcing.1=b"}},
};

INSTANTIATE_TEST_SUITE_P(Table, BadConfig, testing::ValuesIn(bad_inputs));

TEST(ConfigCheck, AFileThatCannotBeReadIsNamed)
{
    try {
        static_cast<void>(load_config({"/nonexistent/x.yaml", {}}));
        FAIL();
    } catch (const ConfigError& error) {
        EXPECT_STREQ(error.what(), "[config] cannot read `/nonexistent/x.yaml`");
    }
}

/// Golden cases show parts of a configuration; this puts each part where it stands in a whole one.
nlohmann::json in_place(const nlohmann::json& config)
{
    nlohmann::json out = nlohmann::json::object();
    for (const auto& [key, value] : config.items()) {
        if (key == "training_loss" || key == "variable_groups" || key == "scalers")
            out["training"][key]["datasets"]["data"] = value;
        else if (key == "optimization" || key == "gradient_clip" || key == "max_steps")
            out["training"][key] = value;
        else if (key == "nodes" || key == "edges")
            out["graph"][key] = value;
        else
            out[key] = value;
    }
    return out;
}

/// Some graph cases describe parts in words ("see variants"): these are no configuration.
void drop_prose(nlohmann::json& graph)
{
    if (graph.contains("edges") && graph["edges"].is_string())
        graph.erase("edges");
    for (auto& nodes : graph["nodes"]) {
        for (const auto* key : {"cutout_mask", "area_weight"})
            nodes.erase(key);
        if (nodes.contains("node_builder") && nodes["node_builder"].is_string())
            nodes.erase("node_builder");
    }
}

TEST(ConfigCheck, GoldenConfigurationsPass)
{
    if (!std::filesystem::exists(golden()))
        GTEST_SKIP() << "no reference vectors in " << golden();
    int checked = 0;
    for (const auto& folder : std::filesystem::directory_iterator(golden())) {
        const auto file = folder.path() / "case.json";
        if (!std::filesystem::exists(file))
            continue;
        const auto json = nlohmann::json::parse(read_text_file(file));
        if (json.contains("config") && json["config"].is_object()) {
            auto config = in_place(json["config"]);
            if (config.contains("graph"))
                drop_prose(config["graph"]);
            EXPECT_NO_THROW(static_cast<void>(check_config(Config::from_json(config, file.string()))));
            ++checked;
        }
        if (const auto resolved = folder.path() / "resolved.yaml"; std::filesystem::exists(resolved)) {
            EXPECT_NO_THROW(static_cast<void>(check_config(load_config({resolved, {}}))));
            ++checked;
        }
    }
    EXPECT_GE(checked, 40);
}

TEST(ConfigCheck, IgnoredKeysAreThoseThatTheUserWrote)
{
    const auto config = Config::from_json(
        nlohmann::json::parse(
            R"({"diagnostics": {"log": {"mlflow": {"enabled": true}, "wandb": null}, "callbacks": []}})"),
        "x");
    EXPECT_EQ(check_config(config).ignored,
              (std::vector<std::string>{"diagnostics.callbacks", "diagnostics.log.mlflow"}));
}

TEST(ConfigCheck, DefaultsObeyTheirOwnTable)
{
    EXPECT_EQ(complaint("{}\n"), "");
}

TEST(ConfigCheck, EveryTypeInTheTableIsOneThatTheCheckKnows)
{
    // A type that the check does not know accepts nothing; "any" key by key would hide it.
    const auto accepts_something = [](const KeySpec& spec) {
        if (std::string(spec.type) == "ignored" || std::string(spec.type).find("target:") != std::string::npos)
            return true;
        for (const auto* value : {"true", "1", "0.5", "text", "[1]", "[text]", "{a: 1}"}) {
            const auto yaml = parse_yaml(value, "x");
            if (accepts_type(*freeze(yaml), spec))
                return true;
        }
        return false;
    };
    for (const auto& section : key_sections())
        for (const auto& spec : section.keys)
            EXPECT_TRUE(accepts_something(spec)) << spec.path << ": " << spec.type;
    for (const auto& target : target_specs())
        for (const auto& keys : target.keys)
            for (const auto& spec : keys)
                EXPECT_TRUE(accepts_something(spec)) << target.name << " " << spec.path << ": " << spec.type;
}

TEST(ConfigCheck, ThePageOfKeysIsUpToDate)
{
    EXPECT_EQ(read_text_file(GRADWIND_SOURCE_DIR "/doc/reference/configuration.md"), configuration_page())
        << "run `gradwind config keys > doc/reference/configuration.md`";
}

} // namespace
} // namespace gradwind
