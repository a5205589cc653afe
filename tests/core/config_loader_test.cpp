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

/// "path: mine is .., wanted .." for every leaf of `wanted` that differs.
void differences(const Config& wanted, const Config& mine, std::vector<std::string>& out)
{
    if (wanted.is_null() || wanted.path() == "config_validation")
        return;
    const auto found = mine.find(wanted.path());
    if (!found) {
        out.push_back(wanted.path() + ": missing");
        return;
    }
    if (wanted.is_map() || wanted.is_list()) {
        if (wanted.is_list() && wanted.items().size() != found->items().size())
            out.push_back(wanted.path() + ": other length");
        for (const auto& item : wanted.items())
            differences(item, mine, out);
        return;
    }
    if (wanted.to_json() != found->to_json())
        out.push_back(
            fmt::format("{}: {} instead of {}", wanted.path(), found->to_json().dump(), wanted.to_json().dump()));
}

/// A folder of files for one test.
class ConfigFiles : public testing::Test
{
protected:
    void SetUp() override
    {
        folder_ = std::filesystem::temp_directory_path() / ("gradwind-loader-" + std::to_string(::getpid()));
        std::filesystem::create_directories(folder_);
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    void write(const std::string& name, const std::string& yaml)
    {
        std::filesystem::create_directories((folder_ / name).parent_path());
        std::ofstream(folder_ / name) << yaml;
    }
    Config load(const std::vector<std::string>& overrides = {}) { return load_config({folder_ / "x.yaml", overrides}); }
    /// Loads one file and gives the value at a path as JSON.
    std::string value(const std::string& yaml, const std::string& path, const std::vector<std::string>& overrides = {})
    {
        write("x.yaml", yaml);
        const auto found = load(overrides).find(path);
        return found ? found->to_json().dump() : "absent";
    }

    std::filesystem::path folder_;
};

TEST_F(ConfigFiles, ScalarsAreTypedAsHydraTypesThem)
{
    const std::pair<const char*, const char*> cases[] = {
        {"1e-3", "0.001"},
        {"1.e-4", "0.0001"},
        {".5", "0.5"},
        {"-.5", "\"-.5\""},
        {"1_000", "1000"},
        {"0x1F", "31"},
        {"010", "8"},
        {"08", "\"08\""},
        {"1.0", "1.0"},
        {"32.", "32.0"},
        {"6h", "\"6h\""},
        {"2019-03-01", "\"2019-03-01\""},
        {"12:30", "\"12:30\""},
        {"True", "true"},
        {"off", "false"},
        {"yes", "true"},
        {"'true'", "\"true\""},
        {"\"1\"", "\"1\""},
        {"~", "null"},
        {"null", "null"},
        {"", "null"},
        {"1e3", "1000.0"},
        {"+3", "3"},
        {"-7", "-7"},
        {"1e", "\"1e\""},
        {"1.2.3", "\"1.2.3\""},
        {"truE", "\"truE\""},
        {"99999999999999999999", "\"99999999999999999999\""},
    };
    for (const auto& [text, json] : cases)
        EXPECT_EQ(value(fmt::format("key: {}\n", text), "key"), json) << text;
    EXPECT_EQ(value("key: .inf\n", "key"), "null"); // JSON has no infinity
}

TEST_F(ConfigFiles, GroupsComeFromTheFolderFirstThenFromThePackage)
{
    write("model/gnn.yaml", "num_channels: 7\n");
    write("x.yaml", "defaults:\n- model: gnn\n- task: forecaster\n- _self_\nmodel:\n  processor: {num_layers: 3}\n");
    const auto config = load();
    EXPECT_EQ(config.get<int64_t>("model.num_channels"), 7);
    EXPECT_EQ(config.get<int64_t>("model.processor.num_layers"), 3);
    EXPECT_EQ(config.get<std::string>("task.timestep"), "6H");
    EXPECT_EQ(config.at("model.num_channels").origin().str(), (folder_ / "model/gnn.yaml").string() + ":1");
    EXPECT_EQ(config.at("task.timestep").origin().source, "packaged task/forecaster");
    EXPECT_EQ(config.at("training.max_steps").origin().str(), "default");
}

TEST_F(ConfigFiles, SelfDecidesWhoWins)
{
    write("g/a.yaml", "v: group\n");
    EXPECT_EQ(value("defaults: [g: a, _self_]\ng: {v: self}\n", "g.v"), "\"self\"");
    EXPECT_EQ(value("defaults: [_self_, g: a]\ng: {v: self}\n", "g.v"), "\"group\"");
    EXPECT_EQ(value("defaults: [g: a]\ng: {v: self}\n", "g.v"), "\"self\""); // the end, if not said
}

TEST_F(ConfigFiles, DefaultsMayNestBeOptionalEmptyListsAndOverridden)
{
    write("g/a.yaml", "defaults: [sub: one, base, _self_]\nv: a\n");
    write("g/b.yaml", "v: b\n");
    write("g/base.yaml", "w: base\nv: base\n");
    write("g/sub/one.yaml", "n: 1\n");
    write("g/sub/two.yaml", "n: 2\n");
    const std::string head = "defaults:\n- g: a\n";
    EXPECT_EQ(value(head, "g"), R"({"sub":{"n":1},"v":"a","w":"base"})");
    EXPECT_EQ(value(head + "- override g/sub: two\n", "g.sub.n"), "2");
    EXPECT_EQ(value(head, "g.sub.n", {"g/sub=two"}), "2");
    EXPECT_EQ(value(head, "g.v", {"g=b"}), "\"b\"");
    EXPECT_EQ(value(head, "g", {"~g"}), "absent");
    EXPECT_EQ(value("defaults: [optional g: none, g: null]\n", "g"), "absent");
    EXPECT_EQ(value("defaults: [g: [base, b]]\n", "g.v"), "\"b\"");
    EXPECT_EQ(value("defaults: [g@h.i: b]\n", "h.i.v"), "\"b\"");
    EXPECT_EQ(value("k: 1\n", "g.v", {"+g=b"}), "\"b\"");
    write("g/global.yaml", "# @package _global_\nq: 5\n");
    EXPECT_EQ(value("defaults: [g: global]\n", "q"), "5");
    write("base.yaml", "u: 3\n");
    EXPECT_EQ(value("defaults: [base]\n", "u"), "3");
}

TEST_F(ConfigFiles, MergingKeepsTheOrderAndMissingMarksDoNotOverwrite)
{
    write("g/a.yaml", "z: 1\ny: {p: 1, q: 2}\nx: [1, 2]\nm: here\n");
    write("x.yaml", "defaults: [g: a, _self_]\ng: {y: {q: 3, r: 4}, x: [9], m: ???, w: 0}\n");
    const auto g = load().at("g");
    EXPECT_EQ(g.keys(), (std::vector<std::string>{"z", "y", "x", "m", "w"}));
    EXPECT_EQ(g.to_json().dump(), R"({"m":"here","w":0,"x":[9],"y":{"p":1,"q":3,"r":4},"z":1})");
}

TEST_F(ConfigFiles, ReferencesTakeTheTypeOfTheirTarget)
{
    const std::string yaml =
        "a: {n: 3, list: [1, {k: v}], t: text, rel: '${.n}', up: '${..b.m}', first: '${a.list[0]}'}\n"
        "b: {m: '${a.n}', whole: '${a.list}', text: 'x-${a.n}-${a.t}', twice: '${c.n}', plain: '\\${a.n}'}\n"
        "c: ${a}\n";
    EXPECT_EQ(value(yaml, "b.m"), "3");
    EXPECT_EQ(value(yaml, "b.whole"), R"([1,{"k":"v"}])");
    EXPECT_EQ(value(yaml, "b.text"), "\"x-3-text\"");
    EXPECT_EQ(value(yaml, "b.twice"), "3");
    EXPECT_EQ(value(yaml, "b.plain"), "\"${a.n}\"");
    EXPECT_EQ(value(yaml, "a.rel"), "3");
    EXPECT_EQ(value(yaml, "a.up"), "3");
    EXPECT_EQ(value(yaml, "a.first"), "1");
    EXPECT_EQ(value(yaml, "c.list"), R"([1,{"k":"v"}])");
    write("x.yaml", yaml);
    EXPECT_EQ(load().at("b.m").node().reference, "${a.n}");
}

TEST_F(ConfigFiles, TheEnvironmentIsTextUnlessDecodedOrWanted)
{
    ::setenv("GRADWIND_TEST_N", "4", 1);
    const std::string yaml =
        "a: '${oc.env:GRADWIND_TEST_N}'\nb: '${oc.decode:${oc.env:GRADWIND_TEST_N}}'\n"
        "c: '${oc.env:GRADWIND_TEST_NONE,none}'\nd: '${oc.env:GRADWIND_TEST_NONE,null}'\n"
        "e: '${oc.select:nowhere,7}'\nsystem: {hardware: {num_nodes: '${oc.env:GRADWIND_TEST_N}'}}\n";
    EXPECT_EQ(value(yaml, "a"), "\"4\"");
    EXPECT_EQ(value(yaml, "b"), "4");
    EXPECT_EQ(value(yaml, "c"), "\"none\"");
    EXPECT_EQ(value(yaml, "d"), "null");
    EXPECT_EQ(value(yaml, "e"), "7");
    EXPECT_EQ(value(yaml, "system.hardware.num_nodes"), "4");
    ::unsetenv("GRADWIND_TEST_N");
}

TEST_F(ConfigFiles, OverridesChangeValuesAlsoBehindReferences)
{
    const std::string yaml = "a: {n: 1, m: {x: 1, y: 2}}\nb: {c: '${a.m}'}\nl: [{k: 1}]\n";
    EXPECT_EQ(value(yaml, "a.n", {"a.n=2e-3"}), "0.002");
    EXPECT_EQ(value(yaml, "a.n", {"a.n="}), "\"\"");
    EXPECT_EQ(value(yaml, "a.n", {"a.n=2019-03-01"}), "\"2019-03-01\"");
    EXPECT_EQ(value(yaml, "a.n", {"a.n=[1,two,{k:3}]"}), R"([1,"two",{"k":3}])");
    EXPECT_EQ(value(yaml, "a.n", {"a.n={k:${a.m.x},s:'a:b'}"}), R"({"k":1,"s":"a:b"})");
    EXPECT_EQ(value(yaml, "a.n", {"a.n=${a.m.y}"}), "2");
    EXPECT_EQ(value(yaml, "a.m", {"a.m={y:5}"}), R"({"x":1,"y":5})");
    EXPECT_EQ(value(yaml, "a.m", {"~a.m.x"}), R"({"y":2})");
    EXPECT_EQ(value(yaml, "b.c", {"b.c.x=9"}), R"({"x":9,"y":2})");
    EXPECT_EQ(value(yaml, "a.m", {"b.c.x=9"}), R"({"x":1,"y":2})");
    EXPECT_EQ(value(yaml, "l", {"l.0.k=2"}), R"([{"k":2}])");
    EXPECT_EQ(value(yaml, "n.e.w", {"+n.e.w=1"}), "1");
    EXPECT_EQ(value(yaml, "a.n", {"++a.n=3"}), "3");
    write("x.yaml", yaml);
    EXPECT_EQ(load({"a.n=2"}).at("a.n").origin().str(), "command line");
}

TEST_F(ConfigFiles, AMapOverAReferenceExtendsACopyOfWhatItStandsFor)
{
    write("g/a.yaml", "kernels: {x: 1, y: 2}\nuser: ${g.kernels}\n");
    const std::string yaml = "defaults: [g: a, _self_]\ng: {user: {x: 5}}\n";
    EXPECT_EQ(value(yaml, "g.user"), R"({"x":5,"y":2})");
    EXPECT_EQ(value(yaml, "g.kernels"), R"({"x":1,"y":2})");
}

TEST_F(ConfigFiles, OlderSpellingsMoveAndLeaveANote)
{
    write("x.yaml", "defaults: [{model: gnn}, {system: example}, _self_]\n"
                    "hardware: {num_gpus_per_model: 2, files: {dataset: a.zarr}}\n"
                    "model:\n  hidden_dim: 24\n  trainable_parameters: {data: 3, data2hidden: 4}\n"
                    "  encoder: {num_chunks: 5, hidden_dim: 16}\n  residual: {_target_: SkipConnection, step: -2}\n"
                    "dataloader: {read_group_size: '${hardware.num_gpus_per_model}'}\n");
    const auto config = load({"config.hardware.num_nodes=3"});
    EXPECT_EQ(config.get<int64_t>("system.hardware.num_gpus_per_model"), 2);
    EXPECT_EQ(config.get<int64_t>("system.hardware.num_nodes"), 3);
    EXPECT_EQ(config.get<std::string>("system.input.dataset"), "a.zarr");
    EXPECT_EQ(config.get<int64_t>("dataloader.read_group_size"), 2);
    EXPECT_EQ(config.get<int64_t>("model.encoders.0.mapper.num_chunks"), 5);
    EXPECT_EQ(config.get<int64_t>("model.encoders.0.mapper.num_channels"), 16);
    EXPECT_EQ(config.get<int64_t>("model.decoders.0.mapper.num_channels"), 24);
    EXPECT_EQ(config.get<int64_t>("model.encoders.0.mapper.trainable_size"), 4);
    EXPECT_EQ(config.get<int64_t>("model.node_trainable_parameters.data"), 3);
    EXPECT_EQ(config.get<int64_t>("model.residual.datasets.data.step"), -2);
    const auto notes = check_config(config).notes;
    ASSERT_EQ(notes.size(), 8u);
    EXPECT_EQ(notes[1], fmt::format("key `hardware` ({}:2) is an older spelling of `system.hardware`",
                                    (folder_ / "x.yaml").string()));
}

TEST_F(ConfigFiles, DefaultsLeaveOutWhatIsInherited)
{
    // A part of a combined loss without scalers has those of the whole; an empty list would switch them off.
    const std::string yaml = "training: {training_loss: {datasets: {data: {_target_: CombinedLoss, scalers: [a],\n"
                             "  losses: [{_target_: HuberLoss}]}}}}\n";
    EXPECT_EQ(value(yaml, "training.training_loss.datasets.data.losses"), R"([{"_target_":"HuberLoss","delta":1.0}])");
}

TEST_F(ConfigFiles, SixteenMixedIsTakenAsBf16)
{
    write("x.yaml", "training: {precision: 16-mixed}\n");
    EXPECT_EQ(load().get<std::string>("training.precision"), "bf16-mixed");
    EXPECT_EQ(check_config(load()).notes.size(), 1u);
}

TEST_F(ConfigFiles, WhatIsShownLoadsBackToTheSame)
{
    write("x.yaml", "defaults: [config, _self_]\nsystem: {input: {dataset: 'a b: c'}}\n"
                    "k: ['true', '1e3', '', ' x', \"a\\nb\", \"t\\tb\", 1.0, -0.0, 1e300, null, {}, []]\n"
                    "e: '\\${a.b}'\n'odd key: ': 1\n'12': x\n");
    const auto config = load();
    write("y.yaml", to_yaml(config, Origins::Show));
    const auto again = load_config({folder_ / "y.yaml", {}});
    EXPECT_EQ(again.to_json(), config.to_json());
    EXPECT_EQ(nlohmann::json::parse(to_json_text(config)), config.to_json());
    const auto flat = nlohmann::json::parse(to_json_text(config, Origins::Show));
    EXPECT_EQ(flat["training.optimization.lr"]["origin"], "packaged training/optimization/default:5");
    EXPECT_EQ(flat["training.optimization.lr_scheduler.t_initial"]["reference"], "${training.max_steps}");
}

TEST_F(ConfigFiles, SmallFilesThatGrowWithoutEndAreRefused)
{
    std::string text = "a0: ['x', 'x']\n";
    std::string refs = "r0: xxxxxxxxxx\n";
    std::string aliases = "a0: &a0 [x, x]\n";
    for (int i = 1; i < 40; ++i) {
        text += fmt::format("a{}: ['${{a{}}}', '${{a{}}}']\n", i, i - 1, i - 1);
        refs += fmt::format("r{}: '${{r{}}}${{r{}}}'\n", i, i - 1, i - 1);
        aliases += fmt::format("a{}: &a{} [*a{}, *a{}]\n", i, i, i - 1, i - 1);
    }
    for (const auto& yaml : {text, refs, aliases, std::string("a: &a [*a]\n"), std::string(2000, '['),
                             std::string("a: {b: '${a}'}\n"), std::string("a: '${a}'\n"), std::string("a: '${a.b}'\n")})
        EXPECT_THROW(static_cast<void>(value(yaml, "a")), ConfigError) << yaml.substr(0, 60);
}

TEST(ConfigLoader, UkRunResolvesAsInTheOriginal)
{
    if (!std::filesystem::exists(golden() / "run-uk-gnn/uk.yaml"))
        GTEST_SKIP() << "no reference vectors in " << golden();
    const auto mine = load_config({golden() / "run-uk-gnn/uk.yaml", {}});
    const Config wanted(freeze(parse_yaml_file(golden() / "run-uk-gnn/resolved.yaml")));
    std::vector<std::string> differing;
    differences(wanted, mine, differing);
    EXPECT_TRUE(differing.empty()) << fmt::format("{}", fmt::join(differing, "\n"));
    EXPECT_NO_THROW(static_cast<void>(check_config(mine)));
}

} // namespace
} // namespace gradwind
