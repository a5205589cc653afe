// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/verify/layouts_worker.h"

#include "gradwind/core/config_loader.h"
#include "gradwind/core/error.h"
#include "gradwind/ops/tensor_io.h"
#include "gradwind/train/step_runner.h"
#include "gradwind/train/trainer.h"

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>

namespace gradwind::verify
{

namespace fs = std::filesystem;
using nlohmann::json;

namespace
{

json read_json(const fs::path& path)
{
    std::ifstream in(path);
    GRADWIND_CHECK(in.good(), DataError, "[verify] cannot read {}", path.string());
    return json::parse(in);
}

void write_json(const fs::path& path, const json& value)
{
    const auto text = value.dump() + "\n";
    write_file_atomically(path, std::as_bytes(std::span(text)));
}

double length_of(const at::Tensor& x)
{
    return std::sqrt(x.to(at::kDouble).square().sum().item<double>());
}

/// Keeps what the steps of the reference gave, or compares with it. Everything else is written down as it is.
class LayoutRecorder : public train::StepHooks
{
public:
    LayoutRecorder(const WorkerOrder& order, train::StepHooks& hooks) : order_(order), hooks_(hooks)
    {
        if (!is_reference())
            n_cells_ = read_json(result_file(order.reference_folder, 0)).at("cells");
    }
    void started(train::Job& job, parallel::GradientEngine& engine) override
    {
        hooks_.started(job, engine);
        // As registered: the arena begins in the reverse order, and is laid out anew after the first step.
        for (const auto& slice : engine.slices())
            names_.insert(names_.begin(), slice.name);
        look_at("weight", engine, engine.flat_parameters());
        close_step();
    }
    void planned(std::vector<std::vector<int64_t>>& batches) override { hooks_.planned(batches); }
    void chosen(train::StepSamples& samples) override
    {
        n_global_ = samples.n_global;
        hooks_.chosen(samples);
    }
    void was_read(train::RawBatch& batch) override
    {
        if (is_reference())
            for (const auto& values : batch.values)
                n_cells_ = std::max(n_cells_, values.size(3));
        hooks_.was_read(batch);
    }
    void summed(parallel::GradientEngine& engine) override
    {
        hooks_.summed(engine);
        ++step_;
        look_at("gradient", engine, engine.whole_gradients());
    }
    void updated(parallel::GradientEngine& engine, const train::StepOutcome& outcome) override
    {
        hooks_.updated(engine, outcome);
        look_at("weight", engine, engine.flat_parameters());
        close_step();
        json anchors = json::array();
        for (const auto& batch : outcome.batches)
            for (const auto anchor : batch.anchors)
                anchors.push_back(anchor);
        result_["steps"].push_back({{"anchors", anchors},
                                    {"loss_share", outcome.loss_share},
                                    {"n_global", outcome.n_global},
                                    {"lr", outcome.lr}});
    }
    void weighed(double& n_samples) override { hooks_.weighed(n_samples); }
    void validated(const train::ValidationResult& result) override
    {
        hooks_.validated(result);
        json values = json::object();
        for (const auto& [name, value] : result.values)
            values[name] = value;
        result_["validation"].push_back({{"step", result.step}, {"n_samples", result.n_samples}, {"values", values}});
    }
    [[nodiscard]] json take_result()
    {
        result_["cells"] = n_cells_;
        return std::move(result_);
    }

private:
    [[nodiscard]] bool is_reference() const { return order_.reference_folder.empty(); }
    [[nodiscard]] fs::path tensor_file() const
    {
        const auto& folder = is_reference() ? order_.folder : order_.reference_folder;
        return folder / fmt::format("step_{}.safetensors", step_);
    }
    void look_at(const std::string& kind, const parallel::GradientEngine& engine, const at::Tensor& flat)
    {
        std::map<std::string, at::Tensor> tensors;
        for (const auto& slice : engine.slices())
            tensors[slice.name] = flat.narrow(0, slice.offset, slice.numel).view(slice.shape).cpu();
        if (is_reference()) {
            for (const auto& name : names_)
                kept_.emplace_back(kind + "." + name, tensors.at(name).clone());
            return;
        }
        const SafetensorsFile file(tensor_file());
        const auto tolerances = tolerances_for(order_.precision, n_cells_ * std::max<int64_t>(1, n_global_));
        if (kind == "gradient")
            compare_gradients(tensors, file, tolerances);
        else
            compare_weights(tensors, file, tolerances);
    }
    [[nodiscard]] double norm_of_all(const SafetensorsFile& file, const std::string& kind) const
    {
        double sum = 0;
        for (const auto& name : names_)
            sum += std::pow(length_of(ops::read_tensor(file, kind + "." + name)), 2);
        return std::sqrt(sum);
    }
    void compare_gradients(const std::map<std::string, at::Tensor>& tensors, const SafetensorsFile& file,
                           const Tolerances& tolerances)
    {
        const double all = norm_of_all(file, "gradient");
        zeros_.clear();
        for (const auto& name : names_) {
            const auto b = ops::read_tensor(file, "gradient." + name).to(at::kDouble);
            const double size = length_of(b);
            if (size <= tolerances.zero * all)
                zeros_.push_back(name);
            add("gradient", name,
                length_of(tensors.at(name).to(at::kDouble) - b) / std::max({size, 1e-3 * all, 1e-300}),
                tolerances.gradient);
        }
    }
    void compare_weights(const std::map<std::string, at::Tensor>& tensors, const SafetensorsFile& file,
                         const Tolerances& tolerances)
    {
        const double all = norm_of_all(file, "weight");
        for (const auto& name : names_) {
            const bool is_zero = std::find(zeros_.begin(), zeros_.end(), name) != zeros_.end();
            if (is_zero && !tolerances.compares_zero_weights)
                continue;
            const auto b = ops::read_tensor(file, "weight." + name).to(at::kDouble);
            const double size = is_zero ? all : length_of(b);
            const double difference = length_of(tensors.at(name).to(at::kDouble) - b);
            add("weight", name, difference == 0 ? 0 : difference / size, tolerances.weight);
        }
    }
    void add(const char* kind, const std::string& name, double error, double tolerance)
    {
        // JSON has no NaN.
        result_["checks"].push_back({step_, kind, name, std::isfinite(error) ? json(error) : json(), tolerance});
    }
    void close_step()
    {
        if (is_reference())
            ops::write_tensors(tensor_file(), kept_);
        kept_.clear();
    }

    const WorkerOrder& order_;
    train::StepHooks& hooks_;
    std::vector<std::string> names_, zeros_;
    std::vector<std::pair<std::string, at::Tensor>> kept_;
    int64_t step_ = 0, n_cells_ = 0, n_global_ = 0;
    json result_ = {{"steps", json::array()}, {"checks", json::array()}, {"validation", json::array()}};
};

} // namespace

Tolerances tolerances_for(const std::string& precision, int64_t depth)
{
    if (precision == "64-true")
        return {.gradient = 1e-12, .weight = 1e-11, .loss = 1e-12, .metric = 1e-11, .zero = 1e-14};
    // Rounding errors of a sum grow like the root of its length; weights carry those of a few steps.
    const double rounding = 6e-8 * std::sqrt(double(std::max<int64_t>(1, depth)));
    return {.gradient = 8 * rounding,
            .weight = 32 * rounding,
            .loss = 4 * rounding,
            .metric = 32 * rounding,
            .zero = 1e-6,
            .compares_zero_weights = false};
}

void write_order(const WorkerOrder& order, const fs::path& file)
{
    const auto& reference = order.reference;
    write_json(file, {{"config", order.config.string()},
                      {"overrides", order.overrides},
                      {"effective_lr", reference.effective_lr},
                      {"effective_batch", reference.effective_batch},
                      {"effective_validation_batch", reference.effective_validation_batch},
                      {"n_replicas", reference.n_replicas},
                      {"folder", order.folder.string()},
                      {"reference_folder", order.reference_folder.string()},
                      {"precision", order.precision}});
}

WorkerOrder read_order(const fs::path& file)
{
    const auto order = read_json(file);
    return {.config = order.at("config").get<std::string>(),
            .overrides = order.at("overrides"),
            .reference = {.effective_lr = order.at("effective_lr"),
                          .effective_batch = order.at("effective_batch"),
                          .effective_validation_batch = order.at("effective_validation_batch"),
                          .n_replicas = order.at("n_replicas")},
            .folder = order.at("folder").get<std::string>(),
            .reference_folder = order.at("reference_folder").get<std::string>(),
            .precision = order.at("precision")};
}

fs::path result_file(const fs::path& folder, int rank)
{
    return folder / fmt::format("rank{}.json", rank);
}

int run_layout_worker(const fs::path& order_file, train::StepHooks& hooks)
{
    const auto order = read_order(order_file);
    const auto environment = parallel::resolve_environment(parallel::process_variables());
    json result;
    int code = int(ExitCode::Ok);
    try {
        LayoutRecorder recorder(order, hooks);
        train::NoProgress nobody;
        const auto config = load_config({.file = order.config, .overrides = order.overrides});
        (void)train::run_training(config, environment,
                                  {.run_dir = order.folder / "run",
                                   .resume = std::nullopt,
                                   .reference = order.reference,
                                   .record = train::Record::No,
                                   .hooks = &recorder},
                                  nobody);
        result = recorder.take_result();
    } catch (const ConfigError& error) {
        result["refused"] = error.what();
    } catch (const Error& error) {
        result["stopped"] = error.what();
        code = int(error.code());
    } catch (const std::exception& error) {
        result["stopped"] = error.what();
        code = int(ExitCode::Internal);
    }
    result["rank"] = environment.rank;
    write_json(result_file(order.folder, environment.rank), result);
    return code;
}

} // namespace gradwind::verify
