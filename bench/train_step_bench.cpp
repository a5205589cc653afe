// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Times training steps of a network: forward, weighted squared error, backward, gradient exchange, AdamW.
// Prints one JSON object, with --sweep one for every size of buckets.
//   train_step_bench --graph o32-l4.safetensors --kind gnn --channels 128 --layers 16 --threads 2 --steps 5
//   train_step_bench --graph n320-l6.safetensors --kind graphtransformer --device cuda --dtype bf16 --nproc 2
#include "bench/recorded_steps.h"
#include "gradwind/core/config_loader.h"
#include "gradwind/core/thread_waiting.h"
#include "gradwind/core/torch_version.h"
#include "gradwind/graph/graph.h"
#include "gradwind/model/model.h"
#include "gradwind/ops/device_memory.h"
#include "gradwind/parallel/gradient_engine.h"
#include "gradwind/parallel/launch.h"
#include "gradwind/parallel/world.h"
#include "gradwind/train/adamw.h"
#include "gradwind/train/exchange_settings.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <sys/resource.h>
#include <torch/cuda.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace
{

using namespace gradwind;
using Clock = std::chrono::steady_clock;

struct Settings {
    std::string graph;
    std::string kind = "gnn";
    std::string device = "cpu";
    std::string dtype = "fp32";
    std::string mode = "data";
    std::string partition = "contiguous";
    int64_t channels = 128;
    int64_t layers = 16;
    int64_t chunks = 2;
    int64_t n_prognostic = 100;
    int64_t n_forcing = 12;
    double bucket_mb = 25;
    std::vector<double> sweep; ///< sizes of buckets instead of one; 0: one bucket
    bool broadcast_buffers = false;
    std::string wire = "fp32";
    std::string compression = "none";
    std::string plan, profile;
    int threads = 2;
    int nproc = 1;
    int warm_up = 2;
    int steps = 5;
    double settle_s = 5;
    bool checkpointing = true;
    bool cuda_graphs = false;
    bool nccl = false;
};

Settings parse(int argc, char** argv)
{
    Settings settings;
    CLI::App app("Times training steps of a network");
    app.add_option("--graph", settings.graph, "graph file with node sets data and hidden")->required();
    app.add_option("--kind", settings.kind, "packaged model: gnn, graphtransformer or transformer");
    app.add_option("--device", settings.device, "cpu or cuda")->check(CLI::IsMember({"cpu", "cuda"}));
    app.add_option("--dtype", settings.dtype, "fp32, or bf16 for autocast")->check(CLI::IsMember({"fp32", "bf16"}));
    app.add_option("--channels", settings.channels);
    app.add_option("--layers", settings.layers);
    app.add_option("--chunks", settings.chunks, "of the processor (and of graph transformer mappers), as in its key");
    app.add_option("--bucket", settings.bucket_mb, "training.strategy.bucket_cap_mb");
    app.add_option("--sweep", settings.sweep, "sizes of buckets, one after the other; 0: one bucket")->delimiter(',');
    app.add_option("--broadcast-buffers", settings.broadcast_buffers, "send buffers in every step, 0 or 1");
    app.add_option("--wire", settings.wire, "fp32 or bf16")->check(CLI::IsMember({"fp32", "bf16"}));
    app.add_option("--compression", settings.compression, "none, acp:RANK or powersgd:RANK");
    app.add_option("--plan", settings.plan, "training.strategy.plan; wins over the other options of the exchange");
    app.add_option("--profile", settings.profile, "write what exchange_bench --compute profile replays");
    app.add_option("--threads", settings.threads);
    app.add_option("--nproc", settings.nproc, "local processes");
    app.add_option("--mode", settings.mode, "data: each process has a batch of its own; model: all share one model")
        ->check(CLI::IsMember({"data", "model"}));
    app.add_option("--partition", settings.partition, "of a shared model: contiguous or bisection")
        ->check(CLI::IsMember({"contiguous", "bisection"}));
    app.add_option("--warm-up", settings.warm_up);
    app.add_option("--steps", settings.steps);
    app.add_option("--settle", settings.settle_s, "seconds of steps on a GPU before any is timed");
    app.add_flag("--nccl", settings.nccl, "sums by NCCL where copies from memory to memory would do");
    app.add_flag("--cuda-graphs", settings.cuda_graphs, "record a step once and start it with one call");
    app.add_option("--checkpointing", settings.checkpointing, "activation checkpointing, 0 or 1");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        std::exit(app.exit(error));
    }
    return settings;
}

/// The packaged model of a kind without boundings, at the size asked for.
Config model_section(const Settings& settings)
{
    const auto file = std::filesystem::temp_directory_path() / fmt::format("gradwind-bench-{}.yaml", ::getpid());
    std::ofstream(file) << fmt::format("defaults: [{{model: {}}}]\n", settings.kind);
    const bool mapper_chunks = settings.kind != "gnn";
    ConfigRequest request{file,
                          {fmt::format("model.num_channels={}", settings.channels),
                           fmt::format("model.processor.num_layers={}", settings.layers),
                           fmt::format("model.processor.num_chunks={}", settings.chunks), "model.bounding=[]"}};
    for (const auto* part : {"model.processor", "model.encoders.0.mapper", "model.decoders.0.mapper"}) {
        request.overrides.push_back(fmt::format("{}.gradient_checkpointing={}", part, settings.checkpointing));
        if (mapper_chunks && std::string(part) != "model.processor")
            request.overrides.push_back(fmt::format("{}.num_chunks={}", part, settings.chunks));
    }
    const auto config = load_config(request);
    std::filesystem::remove(file);
    return config.at("model");
}

/// What the options say about the exchange, read as training reads it.
parallel::EngineOptions exchange(const Settings& settings)
{
    const auto colon = settings.compression.find(':');
    nlohmann::json compression = {{"kind", settings.compression.substr(0, colon)}, {"start_step", 1}};
    if (colon != std::string::npos)
        compression["rank"] = std::stoll(settings.compression.substr(colon + 1));
    nlohmann::json strategy = {
        {"bucket_cap_mb", settings.bucket_mb}, {"wire_dtype", settings.wire}, {"gradient_compression", compression}};
    if (!settings.plan.empty())
        strategy["plan"] = settings.plan;
    auto options = train::exchange_settings(Config::from_json({{"training", {{"strategy", strategy}}}}, "options"));
    options.copy_engines = !settings.nccl && settings.mode == "data"; // as training decides
    return options;
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

double gib(int64_t bytes)
{
    return double(bytes) / double(1 << 30);
}

double median(std::vector<double> values)
{
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

/// What steps of this process took.
struct Timings {
    std::vector<double> seconds, cpu, exposed;
    double loss = 0;
};

constexpr double kOneBucketMb = 1e6;

class Bench
{
public:
    Bench(const Settings& settings, const parallel::Environment& environment)
        : settings_(settings),
          device_(settings.device == "cuda" ? at::Device(at::kCUDA, at::DeviceIndex(environment.local_rank))
                                            : at::Device(at::kCPU)),
          world_(connect(environment)), table_(variables(settings)), graph_(graph::read_graph(settings.graph)),
          sharding_(share_model())
    {
        if (settings.cuda_graphs) {
            parallel::compute_beside_default_stream(device_);
            recorded_.emplace(device_);
        }
        loss_ = at::zeros({}, at::device(device_));
        network_ = model::build_model(
            model_section(settings),
            {.graph = graph_, .variables = table_, .n_step_input = 2, .n_step_output = 1, .sharding = sharding_});
        model::initialise_weights(*network_, 2684470948U);
        network_->to(device_);
        std::vector<parallel::NamedParameter> parameters;
        for (const auto& item : network_->named_parameters())
            parameters.push_back({item.key(), item.value()});
        engine_.emplace(parameters, world_, exchange(settings));
        engine_->broadcast_parameters();
        optimizer_.emplace(engine_->slices(), engine_->flat_parameters(), engine_->own_gradients(),
                           train::AdamWOptions{}, train::ClipOptions{});
        const auto n = int64_t(graph_.node_set("data").lat_rad.size());
        const bool own_batch = settings.mode == "data";
        at::manual_seed(1 + uint64_t(own_batch ? world_.rank() : 0));
        const auto own = sharding_.own_rows("data");
        x_ = own.of(at::randn({1, 2, 1, n, table_.n_input()}), 3).to(device_);
        y_ = own.of(at::randn({1, 1, 1, n, table_.n_output()}), 3).to(device_);
        const auto samples = own_batch ? double(world_.size()) : 1.0;
        weights_ = own.of(at::rand({n, 1}) / double(n) * at::rand({table_.n_output()}) / samples).to(device_);
    }

    /// Other buckets from here on. @param mb  their size; 0: one bucket
    void cut_buckets(double mb)
    {
        parallel::EngineOptions options;
        options.bucket_cap_mb = mb > 0 ? mb : kOneBucketMb;
        options.first_bucket_mb = options.bucket_cap_mb;
        const auto gradients = engine_->flat_gradients();
        engine_->replan(parallel::plan_buckets(gradients.numel(), gradients.element_size(), options));
    }

    Timings run()
    {
        Timings result;
        for (int i = 0; std::ssize(result.seconds) < settings_.steps; ++i) {
            // What a recorded step allocates, it allocates while it is recorded.
            if (recorded_ ? i == 1 : result.seconds.empty())
                ops::reset_peak_memory(device_);
            synchronise();
            const auto start = Clock::now();
            const auto cpu_start = cpu_seconds();
            const auto loss = step();
            synchronise();
            const auto end = Clock::now();
            const double cpu = cpu_seconds() - cpu_start;
            if (i < settings_.warm_up + settings_.steps) // the same step whatever has to be waited for
                result.loss = world_.sum(std::array{loss.item<double>()})[0];
            if (i < settings_.warm_up || is_rested())
                continue;
            result.seconds.push_back(std::chrono::duration<double>(end - start).count());
            result.cpu.push_back(cpu);
            result.exposed.push_back(engine_->last_step().exposed);
        }
        return result;
    }

    /// Shapes of the parameters and when their gradients are ready, in a step of one process that takes ms.
    [[nodiscard]] nlohmann::json profile(double ms)
    {
        engine_->expect_new_graph();
        synchronise();
        const auto start = Clock::now();
        (void)step();
        synchronise();
        const double recorded = 1e3 * std::chrono::duration<double>(Clock::now() - start).count();
        const auto ready = engine_->ready_times();
        const double factor = 1e3 * ms / recorded;
        const double backward = factor * *std::max_element(ready.begin(), ready.end());
        nlohmann::json parameters = nlohmann::json::array();
        for (size_t place = 0; place < ready.size(); ++place)
            parameters.push_back({{"name", engine_->slices()[place].name},
                                  {"shape", engine_->slices()[place].shape},
                                  {"ready_ms", factor * ready[place]}});
        return {{"forward_ms", ms - backward}, {"backward_ms", backward}, {"parameters", parameters}};
    }

    [[nodiscard]] const parallel::Group& world() const { return world_; }
    [[nodiscard]] at::Device device() const { return device_; }
    [[nodiscard]] double wire_mb() const
    {
        double result = 0;
        for (const auto& bucket : engine_->last_step().buckets)
            result += 1e-6 * double(bucket.on_wire);
        return result;
    }
    [[nodiscard]] int64_t n_parameters() const
    {
        int64_t result = 0;
        for (const auto& slice : engine_->slices())
            result += slice.numel;
        return result;
    }

    /// Parameters, gradients and the two moments; gradients are exchanged where they lie.
    [[nodiscard]] int64_t state_bytes() const
    {
        return int64_t(engine_->flat_parameters().nbytes() * 3 + engine_->flat_gradients().nbytes());
    }

private:
    [[nodiscard]] parallel::Group connect(const parallel::Environment& environment) const
    {
        const auto backend = device_.is_cuda() ? parallel::BackendKind::Nccl : parallel::BackendKind::Gloo;
        return parallel::connect_world(environment, {.backend = backend});
    }

    [[nodiscard]] parallel::Sharding share_model() const
    {
        if (settings_.mode == "data" || world_.size() == 1)
            return {};
        const auto kind = settings_.partition == "bisection" ? parallel::PartitionKind::Bisection
                                                             : parallel::PartitionKind::Contiguous;
        const std::vector<std::string> names = {"data", "hidden"};
        const std::vector<const graph::NodeSet*> sets = {&graph_.node_set("data"), &graph_.node_set("hidden")};
        const auto partitions = parallel::make_partitions(kind, sets, world_.size());
        parallel::Sharding result{.group = world_};
        for (size_t i = 0; i < names.size(); ++i)
            result.nodes.emplace(names[i], partitions[i]);
        return result;
    }

    /// A GPU is faster in its first seconds of work: what is timed then looks better than it is.
    bool is_rested()
    {
        const auto now = std::chrono::duration<double>(Clock::now() - began_).count();
        rested_ = rested_ && device_.is_cuda() && world_.max(std::array{now})[0] < settings_.settle_s;
        return rested_;
    }

    void synchronise() const
    {
        if (device_.is_cuda())
            torch::cuda::synchronize(device_.index());
    }

    at::Tensor step()
    {
        if (settings_.broadcast_buffers && settings_.mode == "data")
            for (const auto& buffer : network_->buffers())
                world_.broadcast_(buffer, 0);
        if (recorded_)
            recorded_->run(*engine_, [this] { compute(); });
        else
            compute();
        if (layout_version_ != engine_->layout_version()) {
            optimizer_->move_to(engine_->slices(), engine_->flat_parameters(), engine_->own_gradients());
            layout_version_ = engine_->layout_version();
        }
        optimizer_->queue(1e-4, engine_->gradient_pieces());
        (void)optimizer_->verdict();
        return loss_;
    }

    /// From the batch to summed gradients.
    void compute()
    {
        AutocastState autocast;
        auto& own = device_.is_cuda() ? autocast.cuda : autocast.cpu;
        own = AutocastState::Device{settings_.dtype == "bf16", at::kBFloat16};
        engine_->begin_step();
        at::Tensor loss;
        {
            const AutocastGuard guard(autocast);
            loss = ((network_->forward(x_).to(at::kFloat) - y_).square() * weights_).sum();
        }
        engine_->begin_backward(parallel::Sync::Reduce);
        loss.backward();
        engine_->finish();
        loss_.copy_(loss.detach());
    }

    Settings settings_;
    at::Device device_;
    parallel::Group world_;
    VariableTable table_;
    graph::Graph graph_;
    parallel::Sharding sharding_;
    std::shared_ptr<model::ForecastModel> network_;
    std::optional<parallel::GradientEngine> engine_;
    std::optional<train::AdamW> optimizer_;
    int64_t layout_version_ = 0;
    at::Tensor x_, y_, weights_, loss_;
    std::optional<bench::RecordedSteps> recorded_;
    Clock::time_point began_ = Clock::now();
    bool rested_ = true;
};

nlohmann::json result_of(const Settings& settings, const Bench& bench, double bucket_mb, const Timings& timings)
{
    return {{"bench", "train_step"},
            {"graph", std::filesystem::path(settings.graph).filename().string()},
            {"kind", settings.kind},
            {"device", settings.device},
            {"dtype", settings.dtype},
            {"channels", settings.channels},
            {"layers", settings.layers},
            {"chunks", settings.chunks},
            {"checkpointing", settings.checkpointing},
            {"cuda_graphs", settings.cuda_graphs},
            {"bucket_mb", bucket_mb},
            {"broadcast_buffers", settings.broadcast_buffers},
            {"wire", settings.wire},
            {"compression", settings.compression},
            {"copy_engines", exchange(settings).copy_engines},
            {"plan", settings.plan},
            {"wire_mb", bench.wire_mb()},
            {"world", bench.world().size()},
            {"mode", settings.mode},
            {"partition", settings.partition},
            {"threads", settings.threads},
            {"steps", settings.steps},
            {"params", bench.n_parameters()},
            {"ms", 1e3 * median(timings.seconds)},
            {"ms_min", 1e3 * *std::min_element(timings.seconds.begin(), timings.seconds.end())},
            {"ms_max", 1e3 * *std::max_element(timings.seconds.begin(), timings.seconds.end())},
            {"cpu_s", *std::min_element(timings.cpu.begin(), timings.cpu.end())},
            {"exposed_ms", 1e3 * median(timings.exposed)},
            {"peak_gib", gib(ops::device_memory(bench.device()).peak_bytes)},
            {"state_gib", gib(bench.state_bytes())},
            {"loss", timings.loss}};
}

} // namespace

int main(int argc, char** argv)
{
    gradwind::let_waiting_threads_sleep(argv);
    const auto settings = parse(argc, argv);
    const auto environment = parallel::resolve_environment(parallel::process_variables());
    if (settings.nproc > 1 && environment.launcher == parallel::Launcher::None)
        return parallel::launch_local({argv, argv + argc}, {.processes = settings.nproc});
    at::set_num_threads(settings.threads);
    Bench bench(settings, environment);
    if (settings.sweep.empty()) {
        const auto timings = bench.run();
        if (!settings.profile.empty()) {
            const auto profile = bench.profile(1e3 * median(timings.seconds));
            if (bench.world().rank() == 0)
                std::ofstream(settings.profile) << profile.dump(1) << "\n";
        }
        if (bench.world().rank() == 0)
            std::puts(result_of(settings, bench, settings.bucket_mb, timings).dump().c_str());
    }
    for (const double bucket_mb : settings.sweep) {
        bench.cut_buckets(bucket_mb);
        const auto timings = bench.run();
        if (bench.world().rank() == 0)
            std::puts(result_of(settings, bench, bucket_mb, timings).dump().c_str());
    }
    bench.world().barrier();
    return 0;
}
