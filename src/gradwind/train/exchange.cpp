// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/exchange.h"

#include "gradwind/core/config_schema.h"
#include "gradwind/core/config_yaml.h"
#include "gradwind/core/error.h"
#include "gradwind/model/processor_buffers.h"
#include "gradwind/model/processors.h"
#include "gradwind/ops/tensor_io.h"
#include "gradwind/train/checkpoint.h"
#include "gradwind/train/imported_training.h"
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
constexpr const char* kConfig = "config.yaml";     ///< as gradwind runs it
constexpr const char* kConfigBack = "config.json"; ///< as Anemoi has it; in files of their own, because order counts
constexpr const char* kWeights = "weights.safetensors";
constexpr const char* kOptimizer = "optimizer.safetensors";
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

VariableTables variables_of(const Config& config, const json& description)
{
    VariableTables result;
    for (const auto& [dataset, variables] : description.at("variables").items()) {
        const auto section = config.at("data.datasets." + dataset);
        const auto names = [&](const char* key) { return section.get<std::vector<std::string>>(key, {}); };
        result.emplace(dataset, VariableTable(variables.get<std::vector<std::string>>(), names("forcing"),
                                              names("diagnostic"), names("target")));
    }
    GRADWIND_CHECK(!result.empty(), DataError, "[exchange] expected a data set in {}, found none", kDescription);
    return result;
}

/// Variables as a fingerprint has them.
std::map<std::string, std::vector<std::string>> names_of(const VariableTables& tables)
{
    std::map<std::string, std::vector<std::string>> result;
    for (const auto& [dataset, table] : tables)
        result[dataset] = table.names();
    return result;
}

/// "normalizer._norm_mul" to what it is called in Anemoi's interface.
std::string name_in_interface(const char* direction, const std::string& dataset, const std::string& name)
{
    return fmt::format("{}_processors.{}.processors.{}", direction, dataset, name);
}

/// The factors of normalisers and what imputers fill in, in the form of state.json; index tensors follow from the
/// variables.
json processors_as_state(const SafetensorsFile& file, const std::string& dataset)
{
    auto result = json::object();
    const auto prefix = name_in_interface("pre", dataset, "");
    for (const auto& [name, info] : file.tensors()) {
        const auto dot = name.rfind('.');
        if (name.starts_with(prefix) && dot > prefix.size() && (info.dtype == DType::F32 || info.dtype == DType::F64))
            result[name.substr(prefix.size(), dot - prefix.size())][name.substr(dot + 1)] = file.values<double>(name);
    }
    return result;
}

/// Adds the processors of a data set as they are now; what fills gaps is in no tensor of Anemoi's and kept in double.
void add_processors(const json& state, const std::string& dataset, std::map<std::string, at::Tensor>& tensors)
{
    for (const auto& [step, buffers] : state.items())
        for (const auto& [buffer, values] : buffers.items()) {
            const auto numbers = at::tensor(values.get<std::vector<double>>(), at::kDouble);
            const bool fills = buffer == model::kReplacement;
            tensors[name_in_interface("pre", dataset, step + "." + buffer)] = fills ? numbers : numbers.to(at::kFloat);
            if (!fills)
                tensors[name_in_interface("post", dataset, step + "." + buffer)] = numbers.to(at::kFloat);
        }
}

void copy_into(const fs::path& from, const fs::path& to, std::initializer_list<const char*> names)
{
    fs::create_directories(to);
    for (const char* name : names)
        if (fs::exists(from / name))
            fs::copy_file(from / name, to / name, fs::copy_options::overwrite_existing);
}

void copy_matrices(const fs::path& from, const fs::path& to)
{
    if (fs::is_directory(from / kRunMatrices))
        fs::copy(from / kRunMatrices, to / kRunMatrices, fs::copy_options::recursive);
}

/// Everything of the run folder but its checkpoint.
void write_run(const fs::path& exchange, const fs::path& folder)
{
    fs::create_directories(folder);
    copy_into(exchange, folder, {kConfig, kRunGraph});
    copy_matrices(exchange, folder);
    copy_into(exchange, folder / kKept, {kDescription, kConfigBack, kMetadata, kStatistics, kProcessors});
}

/// Puts what a training goes on with into a checkpoint, or why it cannot.
void add_training(const Config& config, const json& description, const model::ForecastModel& network,
                  const fs::path& exchange, CheckpointContents& contents, std::vector<std::string>& notes)
{
    auto reason = description.value("not_resumable", "");
    if (description.contains("training") && description["training"].is_object())
        try {
            auto training = imported_training(config, description, network, SafetensorsFile(exchange / kOptimizer));
            notes.insert(notes.end(), training.notes.begin(), training.notes.end());
            contents.optimizer = std::move(training.moments);
            contents.state.update(training.state);
            return;
        } catch (const Error& error) {
            reason = error.what();
            notes.push_back(fmt::format("the training cannot go on here: {}", reason));
        }
    contents.state["imported"]["not_resumable"] = reason.empty() ? "it has no optimiser" : reason;
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
    write_run(exchange, folder);
    const auto config = load_run_config(folder, {});
    const auto tables = variables_of(config, description);
    const SafetensorsFile weights(exchange / kWeights), processors(exchange / kProcessors);
    Imported result;
    result.step = description.at("step").get<int64_t>();
    for (const auto& [name, info] : weights.tensors())
        result.n_parameters += info.dtype == DType::I64 ? 0 : info.count();
    CheckpointContents contents{
        .step = result.step,
        .weights = read_named(exchange / kWeights),
        .optimizer = {}, // a file without tensors: a checkpoint has all its files
        .state = {{"epoch", description.value("epoch", 0)}, {"fingerprint", fingerprint(config, names_of(tables))}},
        .cadences = {"import"}};
    contents.state["imported"] = {{"from", description.value("source", "")},
                                  {"by", description.value("versions", json::object())}};
    for (const auto& [dataset, table] : tables)
        contents.state["processors"][dataset] = processors_as_state(processors, dataset);
    try {
        result.notes = check_config(config).notes;
    } catch (const ConfigError& error) {
        result.notes.push_back(fmt::format("before training with this configuration: {}", error.what()));
    }
    try {
        const auto network = imported_network(config, tables, graph::read_graph(folder / kRunGraph), weights);
        add_training(config, description, *network, exchange, contents, result.notes);
    } catch (const Error& error) {
        result.notes.push_back(fmt::format("gradwind cannot run this network: {}", error.what()));
        contents.state["imported"]["not_resumable"] = error.what();
    }
    result.is_resumable = contents.state.contains("format");
    const auto checkpoint = CheckpointFolder(folder / "checkpoints").save(contents);
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
        : config_(config),
          training_(open_stage(config, "training", TrainSettings::from_config(config, {}).dataset_names)),
          folder_(folder)
    {
    }

    json write() const
    {
        std::vector<std::string> notes;
        graph::write_graph(obtain_graph(config_, notes), folder_ / kRunGraph);
        NamedTensors arrays;
        json statistics = json::object(), supporting = json::object(), variables = json::object(),
             metadata = json::object();
        for (const auto& part : training_.parts()) {
            const auto& name = part.name;
            const auto add = [&](const std::string& tree, const char* key, const std::vector<double>& values) {
                return add_array(arrays, fmt::format("{}/{}/{}", tree, name, key), values);
            };
            const auto& own = part.dataset->statistics(); // as they were before a normaliser's `remap`
            statistics[name] = {{"mean", add("statistics", "mean", own.mean)},
                                {"stdev", add("statistics", "stdev", own.stdev)},
                                {"maximum", add("statistics", "maximum", own.maximum)},
                                {"minimum", add("statistics", "minimum", own.minimum)}};
            supporting[name] = {{"latitudes", add("supporting_arrays", "latitudes", part.dataset->latitudes())},
                                {"longitudes", add("supporting_arrays", "longitudes", part.dataset->longitudes())}};
            variables[name] = part.dataset->variables();
            metadata[name] = part.dataset->variables_metadata();
        }
        ops::write_tensors(folder_ / kStatistics, arrays);
        write_text(folder_ / kConfig, to_yaml(config_));
        write_text(folder_ / kConfigBack, to_json_text(config_));
        return {{"format", kFormat},
                {"graph", {{"nodes", json::object()}, {"edges", json::array()}}},
                {"arrays",
                 {{"statistics", statistics}, {"statistics_tendencies", nullptr}, {"supporting_arrays", supporting}}},
                {"variables", variables},
                {"variables_metadata", metadata}};
    }

    /// What the data sets' statistics give, for checkpoints of earlier versions, which hold no normalisation.
    [[nodiscard]] json processors() const
    {
        std::vector<ModelDataset> datasets;
        for (const auto& part : training_.parts())
            datasets.push_back(model_dataset(config_, part.name, *part.dataset));
        return processor_state(datasets);
    }

private:
    Config config_;
    Stage training_;
    fs::path folder_;
};

/// What a training goes on with, for the way back through an exchange folder. Moments only: the feedback of compressed
/// gradients belongs to a layout.
json export_training(const Checkpoint& checkpoint, const fs::path& exchange)
{
    if (!checkpoint.state.contains("format"))
        return nullptr;
    const auto state = run_state_from_json(checkpoint.state, (checkpoint.folder / "state.json").string());
    NamedTensors moments;
    for (auto& [name, tensor] : ops::read_tensors(checkpoint.optimizer))
        if (name.starts_with("exp_avg"))
            moments.emplace_back(name, tensor);
    ops::write_tensors(exchange / kOptimizer, moments);
    return {{"optimizer_steps", state.optimizer_steps},
            {"epoch", state.sampler.epoch},
            {"effective_lr", state.reference.effective_lr},
            {"base_seed", state.seed.value}};
}

} // namespace

void export_exchange(const fs::path& path, const std::vector<std::string>& overrides, const fs::path& exchange)
{
    const auto checkpoint = Checkpoint::open(path);
    const auto run_dir = run_folder_of(path);
    fs::create_directories(exchange);
    json description;
    std::map<std::string, at::Tensor> processors;
    json state = checkpoint.state;
    if (fs::exists(run_dir / kKept / kDescription)) {
        description = read_description(run_dir / kKept);
        copy_into(run_dir / kKept, exchange, {kConfigBack, kMetadata, kStatistics});
        copy_into(run_dir, exchange, {kConfig});
        if (!fs::exists(exchange / kConfigBack)) // imported by an earlier version
            write_text(exchange / kConfigBack, description.at("config").dump(1));
        copy_into(run_dir, exchange, {kRunGraph});
        copy_matrices(run_dir, exchange);
        processors = ops::read_tensors(SafetensorsFile(run_dir / kKept / kProcessors));
    } else {
        const NewExchange own(load_run_config(run_dir, overrides), exchange);
        description = own.write();
        if (!state.contains("processors"))
            state["processors"] = own.processors();
        if (fs::exists(run_dir / kRunGraph))
            copy_into(run_dir, exchange, {kRunGraph}); // with the types of its attributes
    }
    for (const auto& [dataset, variables] : description.at("variables").items())
        add_processors(processor_state_of(state, dataset), dataset, processors);
    copy_into(checkpoint.folder, exchange, {kWeights});
    ops::write_tensors(exchange / kProcessors, {processors.begin(), processors.end()});
    description["training"] = export_training(checkpoint, exchange);
    description["step"] = checkpoint.state.value("step", int64_t(0));
    description["epoch"] = checkpoint.state.value("epoch", int64_t(0));
    write_text(exchange / kDescription, description.dump(1) + "\n");
}

} // namespace gradwind::train
