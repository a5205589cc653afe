// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "tests/train/tiny_training.h"

#include "gradwind/core/config_loader.h"
#include "gradwind/core/error.h"
#include "gradwind/data/create_dataset.h"
#include "gradwind/ops/tensor_io.h"
#include "gradwind/parallel/launch.h"
#include "gradwind/train/checkpoint.h"
#include "tests/support/ranks.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>
#include <thread>

namespace gradwind::train
{

namespace fs = std::filesystem;

namespace
{

constexpr const char* kFolder = "GRADWIND_TEST_FOLDER";
constexpr const char* kRun = "GRADWIND_TEST_RUN";

const char* const kRecipe = R"(
dates: {start: 2000-01-01T00:00:00, end: 2000-01-10T18:00:00, frequency: 6h}
input:
  join:
    - planetary_waves: {grid: o4, level: 500, param: [u, v, q], waves: 4, max_n: 4, seed: 1}
    - forcings: {template: "${input.join.0.planetary_waves}", param: [cos_latitude, insolation]}
output: {chunking: {dates: 1, values: 26}}
)";

const char* const kDefaults = R"(
defaults: [{data: zarr}, {dataloader: native_grid}, {diagnostics: evaluation}, {system: example}, {model: gnn},
           {task: forecaster}, {training: single}, _self_]
model: {num_channels: 8, processor: {num_layers: 1, num_chunks: 1}, bounding: []}
)";

const char* const kEnsembleDefaults = R"(
defaults: [{data: zarr}, {dataloader: native_grid}, {diagnostics: evaluation_ens}, {system: example},
           {model: graphtransformer_ens}, {task: forecaster}, {training: ensemble}, _self_]
model:
  num_channels: 8
  node_trainable_parameters: {data: 2, hidden: 2}
  encoders: {"0": {mapper: {num_heads: 4, num_chunks: 1}}}
  processor: {num_layers: 2, num_chunks: 1, num_heads: 4, layer_kernels: {LayerNorm: {zero_init: false}}}
  decoders: {"0": {mapper: {num_heads: 4, num_chunks: 1}}}
  bounding: []
)";

const char* const kCommon = R"(
system:
  hardware: {accelerator: cpu, num_gpus_per_node: 1, num_gpus_per_model: 1,
             num_gpus_per_ensemble: "${system.hardware.num_gpus_per_model}"}
  input: {dataset: ???}
data:
  frequency: 6h
  datasets:
    data:
      forcing: [cos_latitude, insolation]
      diagnostic: []
      processors: {normalizer: {_target_: InputNormalizer, config: {default: mean-std, std: [], max: [], none: []}}}
dataloader:
  num_workers: {training: 2, validation: 1}
  batch_size: {training: 12, validation: 4}
  limit_batches: {training: null, validation: null}
  training: {datasets: {data: {start: null, end: null}}}
  validation: {datasets: {data: {start: 2000-01-09, end: null}}}
graph:
  overwrite: true
  nodes:
    data: {node_builder: {_target_: AnemoiDatasetNodes, dataset: "${system.input.dataset}"},
           attributes: {area_weight: {_target_: SphericalAreaWeights, norm: unit-max}}}
    hidden: {node_builder: {_target_: TriNodes, resolution: 1}}
  attributes:
    edges: {edge_length: {_target_: EdgeLength, norm: unit-std}, edge_dirs: {_target_: EdgeDirection, norm: unit-std}}
  edges:
  - {source_name: data, target_name: hidden, edge_builders: [{_target_: KNNEdges, num_nearest_neighbours: 6}],
     attributes: "${graph.attributes.edges}"}
  - {source_name: hidden, target_name: hidden, edge_builders: [{_target_: MultiScaleEdges, x_hops: 1, scale_resolutions: 1}],
     attributes: "${graph.attributes.edges}"}
  - {source_name: hidden, target_name: data, edge_builders: [{_target_: KNNEdges, num_nearest_neighbours: 3}],
     attributes: "${graph.attributes.edges}"}
  post_processors: []
task: {timestep: 6H}
training:
  max_steps: 20
  max_epochs: null
  num_sanity_val_steps: 0
  metrics: {datasets: {data: []}}
  gradient_clip: {val: 0.5, algorithm: norm}
  optimization: {lr: 2.0e-3, lr_scaling: none, lr_scheduler: {warmup_t: 4}}
diagnostics: {log: {interval: 1}, checkpoint: {every_n_minutes: {save_frequency: null}}}
)";

const char* const kOtherRecipe = R"(
dates: {start: 2000-01-03T00:00:00, end: 2000-01-12T18:00:00, frequency: 6h}
input:
  join:
    - planetary_waves: {grid: o3, level: 850, param: [v, z], waves: 3, max_n: 3, seed: 2}
    - forcings: {template: "${input.join.0.planetary_waves}", param: [sin_longitude]}
output: {chunking: {dates: 1, values: 12}}
)";

/// What a second data set adds to `tiny` and `tiny_ens`, but for losses.
const char* const kSecond = R"(
data:
  datasets:
    other:
      forcing: [sin_longitude]
      diagnostic: [z_850]
      processors: {normalizer: {_target_: InputNormalizer, config: {default: mean-std, min-max: [z_850]}}}
dataloader:
  training: {datasets: {other: {dataset_config: "${system.input.dataset_b}", start: null, end: null}}}
  validation: {datasets: {other: {dataset_config: "${system.input.dataset_b}", start: 2000-01-09, end: null}}}
  test: {datasets: {other: {dataset_config: "${system.input.dataset_b}", start: null, end: null}}}
graph:
  nodes:
    other: {node_builder: {_target_: AnemoiDatasetNodes, dataset: "${system.input.dataset_b}"},
            attributes: {area_weight: {_target_: SphericalAreaWeights, norm: unit-max}}}
  edges:
  - {source_name: data, target_name: hidden, edge_builders: [{_target_: KNNEdges, num_nearest_neighbours: 6}],
     attributes: "${graph.attributes.edges}"}
  - {source_name: other, target_name: hidden, edge_builders: [{_target_: KNNEdges, num_nearest_neighbours: 4}],
     attributes: "${graph.attributes.edges}"}
  - {source_name: hidden, target_name: hidden, edge_builders: [{_target_: MultiScaleEdges, x_hops: 1, scale_resolutions: 1}],
     attributes: "${graph.attributes.edges}"}
  - {source_name: hidden, target_name: data, edge_builders: [{_target_: KNNEdges, num_nearest_neighbours: 3}],
     attributes: "${graph.attributes.edges}"}
  - {source_name: hidden, target_name: other, edge_builders: [{_target_: KNNEdges, num_nearest_neighbours: 2}],
     attributes: "${graph.attributes.edges}"}
model:
  encoders: {"1": {source_datasets: [other], mapper: "${model.encoders.0.mapper}"}}
  decoders: {"1": {target_datasets: [other], target_node_features: [encoded_data], mapper: "${model.decoders.0.mapper}"}}
  residual: {datasets: {other: {_target_: SkipConnection, step: -1}}}
  output_mask: {datasets: {other: {_target_: NoOutputMask}}}
  node_trainable_parameters: {other: 4}
training:
  scalers: {datasets: {other: {general_variable: {_target_: GeneralVariableLossScaler, weights: {default: 1, z: 3}},
                               node_weights: "${training.scalers.datasets.data.node_weights}",
                               time_steps: "${training.scalers.datasets.data.time_steps}"}}}
  variable_groups: {datasets: {other: {default: sfc, pl: {param: [v, z]}}}}
  metrics: {datasets: {other: [z_850]}}
)";

const char* const kTwo = R"(
defaults: [tiny, second, _self_]
training:
  training_loss: {datasets: {other: {_target_: MAELoss, scalers: [general_variable, node_weights, time_steps]}}}
  validation_metrics: {datasets: {other: {mse: {_target_: MSELoss, scalers: [node_weights, time_steps]}}}}
)";

const char* const kTwoOfAnEnsemble = R"(
defaults: [tiny_ens, second, _self_]
training:
  training_loss:
    datasets: {other: {_target_: CRPS, scalers: [general_variable, node_weights, time_steps], alpha: 0.9}}
  validation_metrics: {datasets: {other: {fkcrps: {_target_: CRPS, scalers: [node_weights, time_steps], alpha: 1.0}}}}
)";

void write_text(const fs::path& path, const std::string& text)
{
    std::ofstream(path) << text;
}

class StepSink : public NoProgress
{
public:
    explicit StepSink(AtStep at_step) : at_step_(std::move(at_step)) {}
    void step(const StepProgress& progress) override
    {
        if (at_step_)
            at_step_(progress.step);
    }
    void note(const std::string& line) override { std::cerr << line << "\n"; }

private:
    AtStep at_step_;
};

} // namespace

TinyTraining::TinyTraining()
{
    if (const char* folder = std::getenv(kFolder)) {
        folder_ = folder;
        return;
    }
    is_owner_ = true;
    folder_ = fs::temp_directory_path() / ("gradwind-training-" + std::to_string(::getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    write_text(config_file(), std::string(kDefaults) + kCommon);
    write_text(config_file("tiny_ens"), std::string(kEnsembleDefaults) + kCommon);
    write_text(config_file("second"),
               std::string(kSecond) + "system: {input: {dataset_b: " + (folder_ / "other.zarr").string() + "}}\n");
    write_text(config_file("tiny_two"), kTwo);
    write_text(config_file("tiny_two_ens"), kTwoOfAnEnsemble);
    create_store("tiny.zarr", kRecipe);
    create_store("other.zarr", kOtherRecipe);
    ::setenv(kFolder, folder_.c_str(), 1);
    ::setenv("GRADWIND_CACHE", (folder_ / "cache").c_str(), 1);
}

TinyTraining::~TinyTraining()
{
    if (!is_owner_)
        return;
    ::unsetenv(kFolder);
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
}

void TinyTraining::create_store(const std::string& name, const std::string& text) const
{
    const auto file = folder_ / (name + ".yaml");
    write_text(file, text);
    const auto recipe = data::parse_recipe(data::load_recipe(file, {}), folder_);
    (void)data::create_dataset(
        recipe, {.output = folder_ / name, .existing = data::ZarrWriter::Existing::Refuse, .progress = {}});
}

std::string start(const TinyRun& run)
{
    ::setenv(kRun,
             nlohmann::json(
                 {{"name", run.name}, {"overrides", run.overrides}, {"resume", run.resume}, {"config", run.config}})
                 .dump()
                 .c_str(),
             1);
    const auto results = testing::run_ranks(run.n_processes, {.watchdog_seconds = 300, .timeout_seconds = 120});
    for (size_t rank = 0; rank < results.size(); ++rank)
        EXPECT_EQ(results[rank].exit_code, run.expected_exit) << run.name << ", rank " << rank << ":\n"
                                                              << results[rank].output;
    ::unsetenv(kRun);
    return results.front().output;
}

void run_child(const TinyTraining& training, const AtStep& at_step, StepHooks* hooks)
{
    const auto run = nlohmann::json::parse(std::getenv(kRun));
    const auto run_dir = training.run_dir(run["name"]);
    const bool resume = run["resume"];
    int code = int(ExitCode::Internal);
    try {
        auto overrides = run["overrides"].get<std::vector<std::string>>();
        overrides.push_back("system.input.dataset=" + training.run_dir("tiny.zarr").string());
        const auto config = load_config({.file = training.config_file(run["config"]), .overrides = overrides});
        StepSink sink(at_step);
        const auto environment = parallel::resolve_environment(parallel::process_variables());
        const auto result = run_training(config, environment,
                                         {.run_dir = run_dir,
                                          .resume = resume ? std::optional(run_dir) : std::nullopt,
                                          .reference = std::nullopt,
                                          .record = Record::Yes,
                                          .hooks = hooks},
                                         sink);
        nlohmann::json bytes = nlohmann::json::object();
        for (const auto& row : result.communication.rows)
            bytes[fmt::format("{}/{}", row.group, parallel::name_of(row.verb))] = row.step_bytes;
        write_text(run_dir / fmt::format("bytes_rank{}.json", environment.rank), bytes.dump());
        code = int(result.end == TrainEnd::Interrupted ? ExitCode::Interrupted : ExitCode::Ok);
    } catch (const Error& e) {
        std::cerr << e.what() << "\n";
        code = int(e.code());
    } catch (const std::exception& e) {
        std::cerr << e.what() << "\n";
    }
    std::cerr << std::flush;
    std::_Exit(code);
}

void stop_where_asked(int64_t step)
{
    const char* stop = std::getenv("GRADWIND_TEST_STOP");
    if (!stop)
        return;
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    if (step == std::atoll(stop))
        ::raise(SIGTERM);
}

std::map<std::string, at::Tensor> weights_of(const fs::path& run_dir)
{
    const auto checkpoint = Checkpoint::open(run_dir);
    std::map<std::string, at::Tensor> result;
    for (const auto& [name, tensor] : ops::read_tensors(checkpoint.weights))
        result[name] = tensor.to(at::kDouble);
    return result;
}

std::vector<nlohmann::json> rows_of(const fs::path& run_dir, const std::string& event)
{
    std::vector<nlohmann::json> result;
    std::ifstream in(run_dir / "metrics.jsonl");
    for (std::string line; std::getline(in, line);)
        if (auto row = nlohmann::json::parse(line); row["event"] == event)
            result.push_back(std::move(row));
    return result;
}

std::map<std::string, int64_t> step_bytes_of(const fs::path& run_dir, int rank)
{
    std::ifstream in(run_dir / fmt::format("bytes_rank{}.json", rank));
    return nlohmann::json::parse(in).get<std::map<std::string, int64_t>>();
}

std::vector<std::vector<int64_t>> samples_of(const fs::path& run_dir, int n_processes, int model_size)
{
    std::vector<std::vector<int64_t>> result;
    std::vector<nlohmann::json> records;
    for (int rank = 0; rank < n_processes; rank += model_size) {
        std::ifstream in(run_dir / ("record_rank" + std::to_string(rank) + ".json"));
        records.push_back(nlohmann::json::parse(in));
    }
    for (const auto& record : records) {
        const auto& n_batches = record["n_batches"];
        result.resize(std::max(result.size(), n_batches.size()));
        size_t batch = 0;
        for (size_t step = 0; step < n_batches.size(); ++step)
            for (size_t i = 0; i < n_batches[step].get<size_t>(); ++i)
                for (const int64_t anchor : record["anchors"][batch++])
                    result[step].push_back(anchor);
    }
    return result;
}

double relative_difference(const std::map<std::string, at::Tensor>& a, const std::map<std::string, at::Tensor>& b)
{
    double difference = 0, size = 0;
    EXPECT_EQ(a.size(), b.size());
    for (const auto& [name, tensor] : a) {
        difference += (tensor - b.at(name)).square().sum().item<double>();
        size += b.at(name).square().sum().item<double>();
    }
    return std::sqrt(difference / size);
}

} // namespace gradwind::train
