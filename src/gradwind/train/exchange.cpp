// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/exchange.h"

#include "gradwind/core/config_schema.h"
#include "gradwind/core/config_yaml.h"
#include "gradwind/core/error.h"
#include "gradwind/ops/tensor_io.h"
#include "gradwind/train/checkpoint.h"
#include "gradwind/train/run_config.h"
#include "gradwind/train/run_state.h"
#include "gradwind/train/setup.h"
#include "gradwind/train/warm_start.h"

#include <ATen/ATen.h>

#include <fstream>
#include <nlohmann/json.hpp>

namespace gradwind::train
{

namespace fs = std::filesystem;
using nlohmann::json;

namespace
{

constexpr const char* kFormat = "gradwind-exchange-1";
constexpr const char* kDescription = "exchange.json";
constexpr const char* kWeights = "weights.safetensors";
constexpr const char* kProcessors = "processors.safetensors";
constexpr const char* kStatistics = "statistics.safetensors";
constexpr const char* kMetadata = "metadata.json";
constexpr const char* kKept = "anemoi"; ///< in a run folder, for the way back

json read_description(const fs::path& folder)
{
    std::ifstream in(folder / kDescription);
    const auto result = json::parse(in, nullptr, false);
    GRADWIND_CHECK(result.is_object() && result.value("format", "") == kFormat, DataError,
                   "[exchange] expected {} of the format {} in {}, found {}", kDescription, kFormat, folder.string(),
                   result.is_object() ? result.value("format", "another file") : "none");
    return result;
}

void write_text(const fs::path& path, const std::string& text)
{
    write_file_atomically(path, std::as_bytes(std::span(text)));
}

NamedTensors read_named(const fs::path& path)
{
    const auto tensors = ops::read_tensors(SafetensorsFile(path));
    return {tensors.begin(), tensors.end()};
}

/// Whether the network of this configuration can be built here and takes these weights; else why not.
std::string reason_against(const Config& config, const VariableTable& variables, const graph::Graph& graph,
                           const SafetensorsFile& weights)
{
    try {
        const auto settings = TrainSettings::from_config(config, {});
        const std::vector<double> zeros(size_t(variables.count())), ones(size_t(variables.count()), 1.0);
        const auto model = make_model(config, settings, graph, variables, {zeros, ones, zeros, ones});
        load_tensors(weights, state_of(*model));
    } catch (const Error& error) {
        return error.what();
    }
    return {};
}

VariableTable variables_of(const Config& config, const json& description, const std::string& dataset)
{
    const auto section = config.at("data.datasets." + dataset);
    const auto names = [&](const char* key) { return section.get<std::vector<std::string>>(key, {}); };
    return {description.at("variables").at(dataset).get<std::vector<std::string>>(), names("forcing"),
            names("diagnostic"), names("target")};
}

/// "normalizer._norm_mul" to what it is called in Anemoi's interface.
std::string name_in_interface(const char* direction, const std::string& dataset, const std::string& name)
{
    return fmt::format("{}_processors.{}.processors.{}", direction, dataset, name);
}

/// The factors of normalisers in the form of state.json; index tensors follow from the variables.
json processors_as_state(const SafetensorsFile& file, const std::string& dataset)
{
    auto result = json::object();
    const auto prefix = name_in_interface("pre", dataset, "");
    for (const auto& [name, info] : file.tensors()) {
        const auto dot = name.rfind('.');
        if (name.starts_with(prefix) && dot > prefix.size() && info.dtype == DType::F32)
            result[name.substr(prefix.size(), dot - prefix.size())][name.substr(dot + 1)] = file.values<double>(name);
    }
    return result;
}

/// Writes the processors of a checkpoint: what came in with it, if anything did, with the factors of now.
void write_processors(const json& state, const std::string& dataset, const fs::path& kept, const fs::path& path)
{
    std::map<std::string, at::Tensor> tensors;
    if (fs::exists(kept))
        tensors = ops::read_tensors(SafetensorsFile(kept));
    for (const auto& [step, buffers] : state.items())
        for (const auto& [buffer, values] : buffers.items())
            for (const char* direction : {"pre", "post"})
                tensors[name_in_interface(direction, dataset, step + "." + buffer)] =
                    at::tensor(values.get<std::vector<double>>(), at::kDouble).to(at::kFloat);
    ops::write_tensors(path, {tensors.begin(), tensors.end()});
}

void copy_into(const fs::path& from, const fs::path& to, std::initializer_list<const char*> names)
{
    fs::create_directories(to);
    for (const char* name : names)
        if (fs::exists(from / name))
            fs::copy_file(from / name, to / name, fs::copy_options::overwrite_existing);
}

/// Everything of the run folder but its checkpoint.
void write_run(const fs::path& exchange, const json& description, const fs::path& folder)
{
    fs::create_directories(folder);
    write_text(folder / "config.yaml",
               to_yaml(Config::from_json(description.at("config"), description.value("source", kDescription))));
    copy_into(exchange, folder, {kRunGraph});
    copy_into(exchange, folder / kKept, {kDescription, kMetadata, kStatistics, kProcessors});
}

/// What stands in the way of training and forecasting with this configuration and these weights.
std::vector<std::string> reservations(const Config& config, const VariableTable& variables, const fs::path& graph,
                                      const SafetensorsFile& weights)
{
    std::vector<std::string> result;
    try {
        result = check_config(config).notes;
    } catch (const ConfigError& error) {
        result.push_back(fmt::format("before training with this configuration: {}", error.what()));
    }
    const auto reason = reason_against(config, variables, graph::read_graph(graph), weights);
    if (!reason.empty())
        result.push_back("gradwind cannot run this network: " + reason);
    return result;
}

} // namespace

Imported import_exchange(const fs::path& exchange, const fs::path& run_dir)
{
    const auto description = read_description(exchange);
    GRADWIND_CHECK(!fs::exists(run_dir) || (fs::is_directory(run_dir) && fs::is_empty(run_dir)), ConfigError,
                   "[import] expected a new folder for --output, found files in {}", run_dir.string());
    // Under another name until it is whole.
    const auto folder = fs::path(fs::absolute(run_dir / "").lexically_normal().parent_path().string() + ".importing");
    fs::remove_all(folder);
    write_run(exchange, description, folder);
    const auto config = load_run_config(folder, {});
    const auto dataset = description.at("variables").begin().key();
    const auto variables = variables_of(config, description, dataset);
    const SafetensorsFile weights(exchange / kWeights);
    Imported result;
    result.step = description.at("step").get<int64_t>();
    result.notes = reservations(config, variables, folder / kRunGraph, weights);
    for (const auto& [name, info] : weights.tensors())
        result.n_parameters += info.dtype == DType::I64 ? 0 : info.count();
    const json state = {
        {"imported",
         {{"from", description.value("source", "")}, {"by", description.value("versions", json::object())}}},
        {"epoch", description.value("epoch", 0)},
        {"fingerprint", fingerprint(config, variables.names())},
        {"processors", processors_as_state(SafetensorsFile(exchange / kProcessors), dataset)}};
    const auto checkpoint = CheckpointFolder(folder / "checkpoints")
                                .save({.step = result.step,
                                       .weights = read_named(exchange / kWeights),
                                       .optimizer = {}, // a file without tensors: a checkpoint has all its files
                                       .state = state,
                                       .cadences = {"import"}});
    fs::rename(folder, run_dir);
    result.checkpoint = run_dir / "checkpoints" / checkpoint.filename();
    return result;
}

namespace
{

/// A list of numbers as the tensor that a name in the description stands for.
json add_array(NamedTensors& arrays, const std::string& name, const std::vector<double>& values)
{
    arrays.emplace_back(name, at::tensor(values, at::kDouble));
    return {{"$array", name}};
}

/// The exchange folder of a run that gradwind made.
class NewExchange
{
public:
    NewExchange(const Config& config, const fs::path& folder)
        : config_(config), settings_(TrainSettings::from_config(config, {})),
          dataset_(open_stage(config, "training", settings_.dataset_name)), folder_(folder)
    {
    }

    json write() const
    {
        std::vector<std::string> notes;
        graph::write_graph(obtain_graph(config_, notes), folder_ / kRunGraph);
        NamedTensors arrays;
        const auto& name = settings_.dataset_name;
        const auto add = [&](const std::string& tree, const char* key, const std::vector<double>& values) {
            return add_array(arrays, fmt::format("{}/{}/{}", tree, name, key), values);
        };
        const auto statistics = dataset_->statistics(); // as they were before a normaliser's `remap`
        const json tree = {{"statistics",
                            {{name,
                              {{"mean", add("statistics", "mean", statistics.mean)},
                               {"stdev", add("statistics", "stdev", statistics.stdev)},
                               {"maximum", add("statistics", "maximum", statistics.maximum)},
                               {"minimum", add("statistics", "minimum", statistics.minimum)}}}}},
                           {"statistics_tendencies", nullptr},
                           {"supporting_arrays",
                            {{name,
                              {{"latitudes", add("supporting_arrays", "latitudes", dataset_->latitudes())},
                               {"longitudes", add("supporting_arrays", "longitudes", dataset_->longitudes())}}}}}};
        ops::write_tensors(folder_ / kStatistics, arrays);
        return {{"format", kFormat},
                {"config", config_.to_json()},
                {"graph", {{"nodes", json::object()}, {"edges", json::array()}}},
                {"arrays", tree},
                {"variables", {{name, dataset_->variables()}}},
                {"variables_metadata", {{name, dataset_->variables_metadata()}}}};
    }

    /// What the data set's statistics give, for checkpoints of earlier versions, which hold no normalisation.
    [[nodiscard]] json processors() const
    {
        const auto& name = settings_.dataset_name;
        const auto variables = variable_table(config_, name, *dataset_);
        auto statistics = dataset_->statistics();
        const auto section = config_.find("data.datasets." + name + ".processors").value_or(Config());
        return processor_state(model::build_processors(section, {variables, statistics}));
    }

private:
    Config config_;
    TrainSettings settings_;
    std::shared_ptr<const data::Dataset> dataset_;
    fs::path folder_;
};

} // namespace

void export_exchange(const fs::path& path, const std::vector<std::string>& overrides, const fs::path& exchange)
{
    const auto checkpoint = Checkpoint::open(path);
    const auto run_dir = run_folder_of(path);
    fs::create_directories(exchange);
    json description, processors = checkpoint.state.value("processors", json());
    if (fs::exists(run_dir / kKept / kDescription)) {
        description = read_description(run_dir / kKept);
        copy_into(run_dir / kKept, exchange, {kMetadata, kStatistics});
        copy_into(run_dir, exchange, {kRunGraph});
    } else {
        const NewExchange own(load_run_config(run_dir, overrides), exchange);
        description = own.write();
        if (processors.is_null())
            processors = own.processors();
        if (fs::exists(run_dir / kRunGraph))
            copy_into(run_dir, exchange, {kRunGraph}); // with the types of its attributes
    }
    copy_into(checkpoint.folder, exchange, {kWeights});
    write_processors(processors, description.at("variables").begin().key(), run_dir / kKept / kProcessors,
                     exchange / kProcessors);
    description["step"] = checkpoint.state.value("step", int64_t(0));
    description["epoch"] = checkpoint.state.value("epoch", int64_t(0));
    write_text(exchange / kDescription, description.dump(1) + "\n");
}

} // namespace gradwind::train
