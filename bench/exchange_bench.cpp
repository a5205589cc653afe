// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Times the exchange of gradients of 302 million parameters (24 blocks of 1024 channels) in every variant, in turns.
//   exchange_bench --nproc 2 --variants none,fp32,bf16,acp:4,powersgd:4 --buckets 25 --steps 50 --repeats 5
//   exchange_bench --nproc 4 --variants fp32,fp32:node2,fp32:zero2         (rows of two ranks)
//   exchange_bench --nproc 2 --compute timed --blocks 2 --channels 256     (CPU: backward is timed sleeps)
//   exchange_bench --nproc 2 --compute profile --profile gnn.json --slow 4 (ready when they were in a recorded step)
//   exchange_bench --nproc 2 --compute profile --profile gnn.json --tune 4 (what `gradwind tune` says about that)
//   exchange_bench --host-time                                             (1000 small parameters: microseconds a step)
// Prints a JSON object a line. bench/peers/exchange_ddp.py runs torch's variants on the same tensors.
#include "bench/emulated_link.h"
#include "bench/exchange_network.h"
#include "bench/host_time.h"
#include "bench/recorded_steps.h"
#include "bench/statistics.h"
#include "gradwind/core/error.h"
#include "gradwind/parallel/gradient_engine.h"
#include "gradwind/parallel/launch.h"
#include "gradwind/parallel/world.h"
#include "gradwind/train/adamw.h"
#include "gradwind/tune/tune.h"

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>
#include <CLI/CLI.hpp>
#include <torch/autograd.h>
#include <torch/cuda.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

namespace
{

using namespace gradwind;
using namespace gradwind::parallel;
using namespace gradwind::bench;
using Clock = std::chrono::steady_clock;

struct Settings {
    int nproc = 1;
    std::string variants = "none,fp32,bf16", device = "auto";
    double bucket_mb = 25;
    std::vector<double> sweep; ///< further caps for fp32 and bf16, in MiB; 0: one bucket
    bench::NetworkOptions network;
    int warm_up = 8, steps = 50, repeats = 5;
    int64_t tune_rank = 0; ///< above 0: tune, with compression of this rank
    bool host_time = false, update = false;
};

std::vector<std::string> words(const std::string& text, char separator)
{
    std::vector<std::string> result;
    std::stringstream in(text);
    for (std::string word; std::getline(in, word, separator);)
        result.push_back(word);
    return result;
}

double milliseconds_since(Clock::time_point start)
{
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

constexpr std::string_view kRecorded = "graph+"; ///< before variants whose steps are CUDA graphs

EngineOptions options_of(const std::string& variant, double bucket_mb)
{
    EngineOptions options;
    options.bucket_cap_mb = bucket_mb > 0 ? bucket_mb : 1e6;
    options.first_bucket_mb = options.bucket_cap_mb;
    options.copy_engines = true;
    const auto parts = words(variant, ':');
    if (parts[0] == "bf16")
        options.wire = WireType::Bf16;
    for (const auto& part : parts) {
        if (part == "nccl")
            options.copy_engines = false;
        if (part.starts_with("node"))
            options.node_size = std::stoi(part.substr(4));
        if (part.starts_with("zero"))
            options.zero_group_size = std::stoi(part.substr(4));
    }
    if (parts[0] == "acp" || parts[0] == "powersgd") {
        options.compression.kind = parts[0] == "acp" ? Compression::Acp : Compression::PowerSgd;
        options.compression.rank = parts.size() > 1 ? std::stoll(parts[1]) : 4;
        options.compression.start_step = 2;
        options.compression.min_ratio = 0;
    }
    return options;
}

struct Variant {
    std::string name; ///< without kRecorded
    bool is_recorded = false;
    double bucket_mb = 25;
    std::vector<double> ms = {}, exposed_ms = {}, medians = {};
    int64_t wire_bytes = 0;
    size_t buckets = 0;
};

void synchronize(const Group& world, at::Device device)
{
    if (device.is_cuda())
        torch::cuda::synchronize(device.index());
    else
        world.barrier(); // on a GPU the ranks meet in the step itself
}

constexpr double kWarmUpShare = 0.05; ///< of the times of a profile

void run_variant(Variant& variant, const bench::Network& network, const Group& world, const Settings& settings,
                 at::Device device)
{
    set_link(world, Link::AsFastAsTheMachine);
    GradientEngine engine(network.parameters(), variant.name == "none" ? Group::self("none") : world,
                          options_of(variant.name, variant.bucket_mb));
    engine.broadcast_parameters();
    std::optional<train::AdamW> optimizer;
    bench::RecordedSteps recorded(device);
    int64_t layout_version = -1;
    std::vector<double> ms;
    const int warm_up = variant.name == "none" && settings.network.compute == "profile" ? 1 : settings.warm_up;
    for (int step = 0; step < warm_up + settings.steps; ++step) {
        if (step == warm_up)
            set_link(world, Link::AsGiven);
        synchronize(world, device);
        const auto start = Clock::now();
        const auto compute = [&] {
            engine.begin_step();
            const auto loss = network.loss(step < warm_up ? kWarmUpShare : 1);
            engine.begin_backward(Sync::Reduce);
            torch::autograd::backward({loss}, {});
            engine.finish();
        };
        if (variant.is_recorded)
            recorded.run(engine, compute);
        else
            compute();
        network.work_on(engine.gradient_pieces());
        if (settings.update) {
            if (layout_version != engine.layout_version())
                optimizer.emplace(engine.slices(), engine.flat_parameters(), engine.flat_parameters(),
                                  train::AdamWOptions{}, train::ClipOptions{train::ClipKind::Norm, 1.0},
                                  engine.state_share());
            layout_version = engine.layout_version();
            optimizer->queue(1e-6, engine.gradient_pieces());
            engine.share_parameters();
        }
        if (device.is_cuda())
            torch::cuda::synchronize(device.index());
        if (settings.update)
            (void)optimizer->verdict();
        if (step < warm_up)
            continue;
        ms.push_back(milliseconds_since(start));
        variant.exposed_ms.push_back(1e3 * engine.last_step().exposed);
        for (const auto& bucket : engine.last_step().buckets)
            variant.wire_bytes += bucket.on_wire;
    }
    variant.buckets = engine.last_step().buckets.size();
    variant.medians.push_back(percentile(ms, 0.5));
    variant.ms.insert(variant.ms.end(), ms.begin(), ms.end());
}

void bench_exchange(const Settings& settings, const Group& world, at::Device device)
{
    const bench::Network network(settings.network, device);
    std::vector<Variant> variants;
    for (const auto& word : words(settings.variants, ',')) {
        const bool is_recorded = word.starts_with(kRecorded);
        const auto name = is_recorded ? word.substr(kRecorded.size()) : word;
        variants.push_back({.name = name, .is_recorded = is_recorded, .bucket_mb = settings.bucket_mb});
        for (const double cap : name == "fp32" || name == "bf16" ? settings.sweep : std::vector<double>{})
            variants.push_back({.name = name, .is_recorded = is_recorded, .bucket_mb = cap});
    }
    // In a process that has used several streams every kernel starts later than in one that has not
    // (fast_starts_cuda.h): whatever came first would look better than it is in a job.
    if (device.is_cuda())
        for (auto variant : variants)
            run_variant(variant, network, world, settings, device);
    for (int repeat = 0; repeat < settings.repeats; ++repeat)
        for (auto& variant : variants)
            run_variant(variant, network, world, settings, device);
    if (world.rank() != 0)
        return;
    int64_t n_parameters = 0;
    for (const auto& parameter : network.parameters())
        n_parameters += parameter.tensor.numel();
    for (const auto& variant : variants) {
        const nlohmann::json line = {
            {"bench", "exchange"},
            {"variant", (variant.is_recorded ? std::string(kRecorded) : "") + variant.name},
            {"bucket_mb", variant.bucket_mb},
            {"buckets", variant.buckets},
            {"world", world.size()},
            {"device", device.is_cuda() ? "cuda" : "cpu"},
            {"compute", settings.network.compute},
            {"slow", settings.network.slow},
            {"update", settings.update},
            {"parameters", n_parameters},
            {"steps", variant.ms.size()},
            {"median_ms", percentile(variant.medians, 0.5)},
            {"p10_ms", percentile(variant.ms, 0.1)},
            {"p90_ms", percentile(variant.ms, 0.9)},
            {"best_ms", percentile(variant.ms, 0)},
            {"exposed_ms", percentile(variant.exposed_ms, 0.5)},
            {"mean_ms", mean(variant.ms)}, // factors differ from step to step
            {"steps_ms", settings.steps <= 8 ? variant.ms : std::vector<double>{}},
            {"mean_exposed_ms", mean(variant.exposed_ms)},
            {"wire_mb", 1e-6 * static_cast<double>(variant.wire_bytes) / static_cast<double>(variant.ms.size())},
            {"medians_ms", variant.medians}};
        std::puts(line.dump().c_str());
    }
}

/// The steps of a network, for tuning.
class BenchSteps : public tune::Steps
{
public:
    BenchSteps(const bench::Network& network, at::Device device) : network_(network), device_(device) {}
    [[nodiscard]] std::vector<NamedParameter> parameters() const override { return network_.parameters(); }
    tune::ReplayStep step(GradientEngine& engine, const std::function<void()>& beside) override
    {
        const auto wait = [&] {
            if (device_.is_cuda())
                torch::cuda::synchronize(device_.index());
        };
        wait();
        const auto start = Clock::now();
        if (beside)
            beside();
        engine.begin_step();
        const auto loss = network_.loss();
        engine.begin_backward(Sync::Reduce);
        torch::autograd::backward({loss}, {});
        engine.finish();
        network_.work_on(engine.gradient_pieces());
        wait();
        return {.seconds = 1e-3 * milliseconds_since(start), .exposed_s = engine.last_step().exposed};
    }

private:
    const bench::Network& network_;
    const at::Device device_;
};

void bench_tune(const Settings& settings, const Group& world, at::Device device)
{
    const bench::Network network(settings.network, device);
    BenchSteps steps(network, device);
    train::NoProgress nobody;
    const auto report = tune::race(steps, world, device,
                                   {.steps = settings.steps,
                                    .accuracy = tune::Accuracy::Rounded,
                                    .rank = settings.tune_rank,
                                    .copy_engines = true},
                                   nobody);
    if (world.rank() != 0)
        return;
    nlohmann::json trials = nlohmann::json::array();
    for (const auto& trial : report.trials)
        trials.push_back({{"name", trial.name},
                          {"step_ms", 1e3 * trial.seconds},
                          {"exposed_ms", 1e3 * trial.exposed_s},
                          {"predicted_ms", 1e3 * trial.predicted_s},
                          {"wire_mb", 1e-6 * static_cast<double>(trial.wire_bytes)}});
    const auto& link = report.learnt.fp32.link;
    const nlohmann::json line = {{"bench", "exchange_tune"},
                                 {"world", world.size()},
                                 {"slow", settings.network.slow},
                                 {"compute_ms", 1e3 * report.learnt.compute_s},
                                 {"latency_us", 1e6 * link.latency_s},
                                 {"bandwidth_mb_s", 1e-6 * link.bytes_per_s},
                                 {"contention", report.learnt.contention},
                                 {"break_even_mb_s", 1e-6 * report.break_even_bytes_per_s},
                                 {"winner", report.trials[report.winner].name},
                                 {"trials", trials},
                                 {"verdict", report.verdict}};
    std::puts(line.dump().c_str());
}

int run(const Settings& settings)
{
    const auto environment = resolve_environment(process_variables());
    const bool cuda = settings.device == "cuda" || (settings.device == "auto" && torch::cuda::is_available());
    const at::Device device =
        cuda ? at::Device(at::kCUDA, static_cast<at::DeviceIndex>(environment.local_rank)) : at::Device(at::kCPU);
    c10::OptionalDeviceGuard guard;
    if (cuda)
        guard.reset_device(device);
    compute_beside_default_stream(device);
    const Group world = connect_world(environment, {.backend = cuda ? BackendKind::Nccl : BackendKind::Gloo});
    if (settings.host_time)
        bench::print_host_time(world);
    else if (settings.tune_rank > 0)
        bench_tune(settings, world, device);
    else
        bench_exchange(settings, world, device);
    world.barrier();
    return 0;
}

} // namespace

int main(int argc, char** argv)
{
    Settings settings;
    CLI::App app("Times the exchange of gradients");
    app.add_option("--nproc", settings.nproc, "local processes");
    app.add_option(
        "--variants", settings.variants,
        "none, fp32, bf16, acp:RANK, powersgd:RANK; with graph+ before it: steps are CUDA graphs; with :nccl: "
        "no copies from memory to memory");
    app.add_option("--bucket-mb", settings.bucket_mb);
    app.add_option("--sweep", settings.sweep, "more caps for fp32 and bf16, 0: one bucket")->delimiter(',');
    app.add_option("--compute", settings.network.compute, "gemm, timed or profile");
    app.add_option("--profile", settings.network.profile, "of train_step_bench, for --compute profile");
    app.add_option("--step-ms", settings.network.step_ms, "forward and backward of a profile together; 0: as recorded");
    app.add_option("--slow", settings.network.slow, "times of a profile are this many times longer");
    app.add_option("--shrink", settings.network.shrink, "tensors of a profile have this many times fewer elements");
    app.add_option("--factor-ms", settings.network.factor_ms, "the device's time for the factors of a step");
    app.add_option("--tune", settings.tune_rank, "tune instead, with compression of this rank");
    app.add_option("--device", settings.device, "auto, cpu or cuda");
    app.add_option("--blocks", settings.network.blocks);
    app.add_option("--channels", settings.network.channels);
    app.add_option("--tokens", settings.network.tokens);
    app.add_option("--backward-ms", settings.network.backward_ms, "of timed compute");
    app.add_option("--warm-up", settings.warm_up);
    app.add_option("--steps", settings.steps);
    app.add_option("--repeats", settings.repeats);
    app.add_flag("--host-time", settings.host_time);
    app.add_flag("--update", settings.update, "AdamW with clipping by norm after every step");
    CLI11_PARSE(app, argc, argv);
    try {
        if (settings.nproc > 1) {
            std::vector<std::string> command = {"/proc/self/exe"};
            command[0] = std::filesystem::read_symlink(command[0]).string();
            for (int i = 1; i < argc; ++i)
                if (std::string_view(argv[i]) == "--nproc")
                    ++i;
                else
                    command.emplace_back(argv[i]);
            return launch_local(command, {.processes = settings.nproc});
        }
        return run(settings);
    } catch (const Error& error) {
        std::fprintf(stderr, "exchange_bench: %s\n", error.what());
        return static_cast<int>(error.code());
    }
}
