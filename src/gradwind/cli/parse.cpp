// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/cli/parse.h"

#include "gradwind/core/error.h"
#include "gradwind/core/text.h"

#include <CLI/CLI.hpp>

#include <algorithm>

namespace gradwind::cli
{

namespace
{

constexpr int kMostCounted = 1'000'000; ///< processes or steps that an option may ask for
constexpr const char* kOverridesHelp = "key=value: overrides of the configuration, as in Hydra";

/// Options are bound to these structs while CLI11 parses; the sub-command that was given says which one counts.
struct Bound {
    ConfigCommand config;
    DatasetCreate dataset_create;
    DatasetInspect dataset_inspect;
    ExportCommand to_anemoi;
    ForecastCommand forecast;
    GraphCommand graph;
    ImportCommand from_anemoi;
    PlanCommand plan;
    TrainCommand train;
    TuneCommand tune;
    VerifyCommand verify;
    Command chosen;
};

/// A flag that selects a value of an enum.
template <class Enum>
void flag(CLI::App& app, const std::string& name, Enum& target, Enum value, const std::string& help)
{
    app.add_flag_callback(
        name, [&target, value] { target = value; }, help);
}

void add_train(CLI::App& app, Bound& bound)
{
    auto& command = bound.train;
    auto* sub = app.add_subcommand("train", "Train a model: from a configuration, or on with --resume");
    sub->add_option("config", command.config, "YAML file with the keys of anemoi-training");
    sub->add_option("overrides", command.overrides, kOverridesHelp);
    sub->add_option("--nproc", command.nproc,
                    "start this many processes on this machine (default 1; leave it out "
                    "under srun, torchrun and mpirun)")
        ->check(CLI::Range(1, kMostCounted));
    sub->add_option("--run,--run-dir", command.run_dir, "folder of the run (default runs/<config>-<time>)");
    sub->add_option("--resume", command.resume, "run folder to go on with, on any number of processes");
    flag(*sub, "--record", command.record, TrainCommand::Record::Yes,
         "every rank also writes losses and samples of its steps to record_rank<r>.json");
    sub->footer("Examples:\n  gradwind train config.yaml --nproc 2 --run runs/first training.max_steps=1000\n"
                "  gradwind train --resume runs/first\n"
                "  srun gradwind train config.yaml\n"
                "  torchrun --no-python --nproc-per-node 4 gradwind train config.yaml --run-dir runs/first");
    sub->final_callback([&bound] { bound.chosen = bound.train; });
}

void add_forecast(CLI::App& app, Bound& bound)
{
    auto& command = bound.forecast;
    auto* sub = app.add_subcommand("forecast", "Forecast with a trained model and score it against persistence");
    sub->add_option("run", command.run, "run folder, or one checkpoint folder in it")->required();
    sub->add_option("overrides", command.overrides, kOverridesHelp);
    sub->add_option("--date", command.dates, "start dates, e.g. 1996-01-18T12:00:00 (default: all of the test period)");
    sub->add_option("--steps", command.steps, "model steps forward (default 4)")->check(CLI::Range(1, kMostCounted));
    sub->add_option("--leads", command.leads, "steps that the table shows (default: all)")->delimiter(',');
    sub->add_option("--output", command.output, "write the forecast fields to this safetensors file");
    flag(*sub, "--plots", command.pictures, ForecastCommand::Pictures::Draw,
         "draw maps and loss curves into the run folder");
    flag(*sub, "--json", command.format, ForecastCommand::Format::Json, "print JSON");
    sub->final_callback([&bound] { bound.chosen = bound.forecast; });
}

void add_plan(CLI::App& app, Bound& bound)
{
    auto& command = bound.plan;
    auto* sub = app.add_subcommand("plan", "Show the layout of a job before it is launched");
    sub->add_option("config", command.config, "configuration (without one: an example)");
    sub->add_option("overrides", command.overrides, kOverridesHelp);
    sub->add_option("--world", command.world, "nodes x GPUs per node, e.g. 8x4");
    flag(*sub, "--json", command.format, PlanCommand::Format::Json, "print JSON");
    sub->final_callback([&bound] { bound.chosen = bound.plan; });
}

void add_tune(CLI::App& app, Bound& bound)
{
    auto& command = bound.tune;
    auto* sub = app.add_subcommand("tune", "Find the fastest exchange of gradients for a model on this machine");
    sub->add_option("config", command.config, "configuration of the training")->required();
    sub->add_option("overrides", command.overrides, kOverridesHelp);
    sub->add_option("--nproc", command.nproc, "start this many processes on this machine (default 1)")
        ->check(CLI::Range(1, kMostCounted));
    sub->add_option("--steps", command.steps, "measured steps of all trials together, about (default 200)")
        ->check(CLI::Range(1, kMostCounted));
    sub->add_option("--allow", command.allow, "what may win: fp32, bf16 (default) or compression")
        ->check(CLI::IsMember({"fp32", "bf16", "compression"}));
    sub->add_option("--rank", command.rank, "rank of the factors of compression (default 4)")
        ->check(CLI::Range(1, kMostCounted));
    sub->add_option("--output", command.output, "plan to write (default plan.yaml)");
    flag(*sub, "--json", command.format, TuneCommand::Format::Json, "print JSON");
    sub->footer("Examples:\n  gradwind tune config.yaml --nproc 2 --output plan.yaml\n"
                "  gradwind train config.yaml --nproc 2 training.strategy.plan=plan.yaml\n"
                "  srun gradwind tune config.yaml --allow compression");
    sub->final_callback([&bound] { bound.chosen = bound.tune; });
}

void add_verify(CLI::App& app, Bound& bound)
{
    auto& command = bound.verify;
    auto* sub = app.add_subcommand("verify", "Prove that every layout gives the result of one process, or compare with "
                                             "stored results of the original packages");
    sub->add_option("config", command.config, "configuration whose layouts are compared");
    sub->add_option("overrides", command.overrides, kOverridesHelp);
    sub->add_option("--nproc", command.nproc, "processes of the largest layouts (default 2)")
        ->check(CLI::Range(1, kMostCounted));
    sub->add_option("--steps", command.steps, "optimiser steps of each layout (default 4)")
        ->check(CLI::Range(1, kMostCounted));
    sub->add_option("--precision", command.precision, "64-true (default) or 32-true");
    sub->add_option("--layouts", command.layouts, "only layouts whose name contains this, e.g. W4,M2")->delimiter(',');
    sub->add_option("--golden", command.golden, "instead: one case folder, or a folder of cases");
    sub->add_option("--worker", command.worker)->group("");
    flag(*sub, "--json", command.format, VerifyCommand::Format::Json, "print JSON");
    sub->footer("Examples:\n  gradwind verify config.yaml --nproc 4\n"
                "  gradwind verify config.yaml --nproc 2 --precision 32-true dataloader.batch_size.training=1\n"
                "  gradwind verify --golden golden/");
    sub->final_callback([&bound] { bound.chosen = bound.verify; });
}

void add_exchange(CLI::App& app, Bound& bound)
{
    constexpr const char* python_help =
        "Python that has anemoi-models, anemoi-graphs and anemoi-training (default: GRADWIND_PYTHON, else python3)";
    auto& in = bound.from_anemoi;
    auto* sub = app.add_subcommand("import", "Make a run folder of a checkpoint of Anemoi, or convert a graph");
    sub->add_option("--anemoi", in.anemoi, "training or inference checkpoint (.ckpt)");
    sub->add_option("--graph", in.graph, "graph (.pt) to take in place of the one in the checkpoint, or alone");
    sub->add_option("--matrices", in.matrices, "folder of the matrix files that the network needs, if they have moved");
    sub->add_option("--output", in.output, "run folder to make (of a graph alone: its .safetensors)")->required();
    sub->add_option("--python", in.python, python_help);
    sub->final_callback([&bound] { bound.chosen = bound.from_anemoi; });

    auto& out = bound.to_anemoi;
    sub = app.add_subcommand("export", "Make checkpoints of Anemoi, for training and for inference");
    sub->add_option("--checkpoint", out.checkpoint, "run folder, or one checkpoint folder in it")->required();
    sub->add_option("--output", out.output, "file to write, NAME.ckpt; inference-NAME.ckpt comes beside it")
        ->required();
    sub->add_option("overrides", out.overrides, kOverridesHelp);
    sub->add_option("--python", out.python, python_help);
    sub->final_callback([&bound] { bound.chosen = bound.to_anemoi; });
}

void add_dataset(CLI::App& app, Bound& bound)
{
    auto* group = app.add_subcommand("dataset", "Make data sets and look into them")->require_subcommand(1);
    auto& create = bound.dataset_create;
    auto* sub = group->add_subcommand("create", "Make an Anemoi data set from netCDF, GRIB or a generator");
    sub->add_option("recipe", create.recipe, "YAML recipe")->required();
    sub->add_option("output", create.output, "store to write, NAME.zarr")->required();
    sub->add_option("overrides", create.overrides, "key=value: overrides of the recipe");
    flag(*sub, "--overwrite", create.existing, DatasetCreate::Existing::Overwrite, "replace an existing store");
    sub->final_callback([&bound] { bound.chosen = bound.dataset_create; });

    auto& inspect = bound.dataset_inspect;
    sub = group->add_subcommand("inspect", "What a data set holds: dates, variables, statistics, chunks");
    sub->add_option("store", inspect.store, "path of the store, or a YAML file of options (join, concat, ...)")
        ->required();
    sub->add_option("options", inspect.options, "key=value: options of open_dataset, e.g. frequency=6h select=[t,u]");
    flag(*sub, "--json", inspect.format, DatasetInspect::Format::Json, "print JSON");
    flag(*sub, "--checksum", inspect.checksum, DatasetInspect::Checksum::Compute,
         "SHA-256 over the float32 values in C order, after the options");
    sub->final_callback([&bound] { bound.chosen = bound.dataset_inspect; });
}

void add_graph(CLI::App& app, Bound& bound)
{
    auto* group = app.add_subcommand("graph", "Build graphs and look into them")->require_subcommand(1);
    auto& command = bound.graph;
    auto* sub = group->add_subcommand("create", "Build the graph of a configuration");
    sub->add_option("config", command.config_or_graph, "configuration with a `graph:` section")->required();
    sub->add_option("output", command.output, "safetensors file to write")->required();
    sub->add_option("overrides", command.overrides, kOverridesHelp);
    flag(*sub, "--json", command.format, GraphCommand::Format::Json, "print JSON");
    sub->final_callback([&bound] {
        bound.graph.action = GraphCommand::Action::Create;
        bound.chosen = bound.graph;
    });
    sub = group->add_subcommand("inspect", "Nodes, edges, degrees and attributes of a stored graph");
    sub->add_option("graph", command.config_or_graph, "safetensors file")->required();
    flag(*sub, "--json", command.format, GraphCommand::Format::Json, "print JSON");
    sub->final_callback([&bound] {
        bound.graph.action = GraphCommand::Action::Inspect;
        bound.chosen = bound.graph;
    });
    sub = group->add_subcommand("cut", "What processes that share a model would exchange on a stored graph");
    sub->add_option("graph", command.config_or_graph, "safetensors file")->required();
    sub->add_option("--parts", command.cut.parts, "numbers of processes, separated by commas (default 2,4,8,16)")
        ->delimiter(',')
        ->check(CLI::Range(1, kMostCounted));
    sub->add_option("--channels", command.cut.channels, "width of the network (default 1024)")
        ->check(CLI::Range(1, kMostCounted));
    sub->add_option("--element-bytes", command.cut.element_bytes, "of a number on the wire (default 2)")
        ->check(CLI::Range(1, 8));
    sub->add_option("--even", command.cut.even, "node set that patches cut evenly (default hidden)");
    flag(*sub, "--json", command.format, GraphCommand::Format::Json, "print JSON");
    sub->final_callback([&bound] {
        bound.graph.action = GraphCommand::Action::Cut;
        bound.chosen = bound.graph;
    });
}

void add_config(CLI::App& app, Bound& bound)
{
    auto* group = app.add_subcommand("config", "Check and show configurations")->require_subcommand(1);
    auto& command = bound.config;
    const auto add = [&](const char* name, ConfigCommand::Action action, const char* help) {
        auto* sub = group->add_subcommand(name, help);
        sub->final_callback([&bound, action] {
            bound.config.action = action;
            bound.chosen = bound.config;
        });
        return sub;
    };
    auto* check =
        add("check", ConfigCommand::Action::Check, "Say what is wrong with a configuration, or that all is well");
    auto* show = add("show", ConfigCommand::Action::Show, "Print the configuration as resolved");
    add("keys", ConfigCommand::Action::Keys, "Print every key with type, default and meaning, as Markdown");
    for (auto* sub : {check, show}) {
        sub->add_option("config", command.file, "YAML file")->required();
        sub->add_option("overrides", command.overrides, kOverridesHelp);
    }
    flag(*show, "--json", command.format, ConfigCommand::Format::Json, "print JSON");
    flag(*show, "--origin", command.origins, ConfigCommand::Origins::Show, "say where each value comes from");
}

/// " (did you mean `train`?)" for the first word that the deepest command given does not know, else nothing.
std::string hint(const CLI::App& deepest, int argc, const char* const* argv)
{
    std::vector<std::string> known;
    for (const auto* sub : deepest.get_subcommands([](const CLI::App*) { return true; }))
        known.push_back(sub->get_name());
    const bool wants_command = !known.empty();
    for (const auto* option : deepest.get_options())
        for (const auto& name : option->get_lnames())
            known.push_back("--" + name);
    int first = 1;
    for (const auto* app = &deepest; app->get_parent() != nullptr; app = app->get_parent())
        ++first;
    for (int i = first; i < argc; ++i) {
        const std::string text = argv[i];
        const auto word = text.substr(0, text.find('='));
        if (!(wants_command || word.starts_with("--")) || std::find(known.begin(), known.end(), word) != known.end())
            continue;
        return fmt::format("; there is no `{}`{}", word, did_you_mean(word, known));
    }
    return {};
}

} // namespace

Command parse(int argc, const char* const* argv)
{
    Bound bound;
    CLI::App app("gradwind: trains AIFS-class weather models in parallel", "gradwind");
    app.set_version_flag("--version", "gradwind " GRADWIND_VERSION);
    app.require_subcommand(1);
    app.get_formatter()->column_width(34);
    add_train(app, bound);
    add_forecast(app, bound);
    add_plan(app, bound);
    add_tune(app, bound);
    add_verify(app, bound);
    add_exchange(app, bound);
    add_dataset(app, bound);
    add_graph(app, bound);
    add_config(app, bound);
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
        const CLI::App* deepest = &app; // help of the sub-command that was asked
        while (!deepest->get_subcommands().empty())
            deepest = deepest->get_subcommands().front();
        return ShowText{deepest->help()};
    } catch (const CLI::CallForVersion& version) {
        return ShowText{std::string(version.what()) + "\n"};
    } catch (const CLI::ParseError& error) {
        std::string name = "gradwind";
        const CLI::App* deepest = &app;
        for (auto subs = app.get_subcommands(); !subs.empty(); subs = subs.front()->get_subcommands()) {
            deepest = subs.front();
            name += " " + deepest->get_name();
        }
        throw ConfigError(
            fmt::format("{}{}; `{} --help` shows what there is", error.what(), hint(*deepest, argc, argv), name));
    }
    return bound.chosen;
}

} // namespace gradwind::cli
