// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Times training steps of the graph network: forward, weighted squared error, backward, AdamW. Prints one JSON object.
//   train_step_bench --graph o32-l4.safetensors --channels 128 --layers 16 --threads 2 --steps 5 --checkpointing 1
#include "gradwind/graph/graph.h"
#include "gradwind/model/model.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <sys/resource.h>
#include <torch/optim/adamw.h>

#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace
{

using namespace gradwind;

struct Settings {
    std::string graph;
    int64_t channels = 128;
    int64_t layers = 16;
    int64_t chunks = 2;
    int64_t n_prognostic = 100;
    int64_t n_forcing = 12;
    int threads = 2;
    int warm_up = 2;
    int steps = 5;
    bool checkpointing = true;
};

Settings parse(int argc, char** argv)
{
    Settings settings;
    CLI::App app("Times training steps of the graph network");
    app.add_option("--graph", settings.graph, "graph file with node sets data and hidden")->required();
    app.add_option("--channels", settings.channels);
    app.add_option("--layers", settings.layers);
    app.add_option("--chunks", settings.chunks, "groups of layers that are recomputed together");
    app.add_option("--threads", settings.threads);
    app.add_option("--warm-up", settings.warm_up);
    app.add_option("--steps", settings.steps);
    app.add_option("--checkpointing", settings.checkpointing);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        std::exit(app.exit(error));
    }
    return settings;
}

Config model_section(const Settings& settings)
{
    const nlohmann::json mapper = {{"trainable_size", 8}, {"gradient_checkpointing", settings.checkpointing}};
    auto encoder = mapper, decoder = mapper, processor = mapper;
    encoder["_target_"] = "GNNForwardMapper";
    decoder["_target_"] = "GNNBackwardMapper";
    processor["_target_"] = "GNNProcessor";
    processor["num_layers"] = settings.layers;
    processor["num_chunks"] = settings.chunks;
    return Config::from_json({{"num_channels", settings.channels},
                              {"node_trainable_parameters", {{"data", 8}, {"hidden", 8}}},
                              {"encoders", {{"0", {{"mapper", encoder}}}}},
                              {"decoders", {{"0", {{"mapper", decoder}}}}},
                              {"processor", processor}},
                             "bench");
}

VariableTable variables(const Settings& settings)
{
    std::vector<std::string> names, forcing;
    for (int64_t i = 0; i < settings.n_forcing; ++i)
        forcing.push_back(fmt::format("f{}", i));
    names = forcing;
    for (int64_t i = 0; i < settings.n_prognostic; ++i)
        names.push_back(fmt::format("p{}", i));
    return {names, forcing, {}};
}

/// Seconds that the processors spent on this process.
double cpu_seconds()
{
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& t) { return double(t.tv_sec) + 1e-6 * double(t.tv_usec); };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double peak_gib()
{
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return double(usage.ru_maxrss) / (1 << 20);
}

} // namespace

int main(int argc, char** argv)
{
    const auto settings = parse(argc, argv);
    at::set_num_threads(settings.threads);
    const auto graph = graph::read_graph(settings.graph);
    const auto table = variables(settings);
    const auto network = model::build_model(
        model_section(settings), {.graph = graph, .variables = table, .n_step_input = 2, .n_step_output = 1});
    model::initialise_weights(*network, 2684470948U);
    torch::optim::AdamW optimizer(network->parameters(), torch::optim::AdamWOptions(1e-4).betas({0.9, 0.95}));
    const auto n = int64_t(graph.node_set("data").lat_rad.size());
    at::manual_seed(1);
    const auto x = at::randn({1, 2, 1, n, table.n_input()});
    const auto y = at::randn({1, 1, 1, n, table.n_output()});
    const auto weights = at::rand({n, 1}) / double(n) * at::rand({table.n_output()});
    std::vector<double> seconds, cpu;
    double loss_value = 0;
    for (int i = 0; i < settings.warm_up + settings.steps; ++i) {
        const auto start = std::chrono::steady_clock::now();
        const auto cpu_start = cpu_seconds();
        const auto loss = ((network->forward(x) - y).square() * weights).sum();
        loss.backward();
        optimizer.step();
        optimizer.zero_grad();
        loss_value = loss.item<double>();
        if (i < settings.warm_up)
            continue;
        cpu.push_back(cpu_seconds() - cpu_start);
        seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    std::sort(seconds.begin(), seconds.end());
    std::sort(cpu.begin(), cpu.end());
    const nlohmann::json result = {
        {"bench", "train_step"},       {"graph", settings.graph},   {"channels", settings.channels},
        {"layers", settings.layers},   {"chunks", settings.chunks}, {"checkpointing", settings.checkpointing},
        {"threads", settings.threads}, {"steps", settings.steps},   {"median_s", seconds[seconds.size() / 2]},
        {"best_s", seconds.front()},   {"cpu_s", cpu.front()},      {"peak_gib", peak_gib()},
        {"loss", loss_value}};
    std::puts(result.dump().c_str());
    return 0;
}
