// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/run_state.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/layout_config.h"

#include <algorithm>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace gradwind::train
{

namespace
{

constexpr int kFormat = 1;

nlohmann::json stream_to_json(const std::optional<Pcg64::State>& stream)
{
    if (!stream)
        return nullptr;
    // Text, because other readers of JSON hold numbers as doubles.
    const auto hex = [](uint64_t value) { return fmt::format("{:016x}", value); };
    return {{"generator", "PCG64"},
            {"state", hex(stream->state_high) + hex(stream->state_low)},
            {"increment", hex(stream->increment_high) + hex(stream->increment_low)},
            {"buffered", hex(stream->buffered)},
            {"has_buffered", stream->has_buffered}};
}

std::optional<Pcg64::State> stream_from_json(const nlohmann::json& json)
{
    if (json.is_null())
        return std::nullopt;
    const auto word = [&](const char* key, size_t at) {
        return std::stoull(json.at(key).get<std::string>().substr(at, 16), nullptr, 16);
    };
    return Pcg64::State{word("state", 0),      word("state", 16),   word("increment", 0),
                        word("increment", 16), word("buffered", 0), json.at("has_buffered").get<uint64_t>()};
}

} // namespace

nlohmann::json to_json(const RunState& state)
{
    return {{"format", kFormat},
            {"step", state.step},
            {"epoch", state.sampler.epoch},
            {"optimizer_steps", state.optimizer_steps},
            {"samples_seen", state.samples_seen},
            {"wall_s", state.wall_s},
            {"epoch_loss_sum", state.epoch_loss_sum},
            {"epoch_samples", state.epoch_samples},
            {"metrics_bytes", state.metrics_bytes},
            {"sampler",
             {{"epoch", state.sampler.epoch},
              {"samples_done", state.sampler.samples_done},
              {"steps_done", state.sampler.steps_done},
              {"stream", stream_to_json(state.sampler.stream)}}},
            {"base_seed", {{"value", state.seed.value}, {"source", state.seed.source}}},
            {"reference",
             {{"effective_lr", state.reference.effective_lr},
              {"effective_batch", state.reference.effective_batch},
              {"effective_validation_batch", state.reference.effective_validation_batch},
              {"n_replicas", state.reference.n_replicas}}}};
}

RunState run_state_from_json(const nlohmann::json& json, const std::string& where)
{
    try {
        const int format = json.at("format").get<int>();
        GRADWIND_CHECK(format == kFormat, CheckpointError,
                       "[checkpoint] expected format {} in {}, found {}: it was written by another version of gradwind",
                       kFormat, where, format);
        const auto& sampler = json.at("sampler");
        const auto& reference = json.at("reference");
        return {.step = json.at("step").get<int64_t>(),
                .optimizer_steps = json.at("optimizer_steps").get<int64_t>(),
                .samples_seen = json.at("samples_seen").get<int64_t>(),
                .wall_s = json.at("wall_s").get<double>(),
                .epoch_loss_sum = json.at("epoch_loss_sum").get<double>(),
                .epoch_samples = json.at("epoch_samples").get<int64_t>(),
                .metrics_bytes = json.at("metrics_bytes").get<int64_t>(),
                .sampler = {.epoch = sampler.at("epoch").get<int64_t>(),
                            .samples_done = sampler.at("samples_done").get<int64_t>(),
                            .steps_done = sampler.at("steps_done").get<int64_t>(),
                            .stream = stream_from_json(sampler.at("stream"))},
                .seed = {json.at("base_seed").at("value").get<uint64_t>(),
                         json.at("base_seed").at("source").get<std::string>()},
                .reference = {.effective_lr = reference.at("effective_lr").get<double>(),
                              .effective_batch = reference.at("effective_batch").get<int64_t>(),
                              .effective_validation_batch = reference.at("effective_validation_batch").get<int64_t>(),
                              .n_replicas = reference.at("n_replicas").get<int64_t>()}};
    } catch (const nlohmann::json::exception& e) {
        throw CheckpointError(fmt::format("[checkpoint] {} lacks what a run needs to go on: {}", where, e.what()));
    } catch (const std::logic_error& e) {
        throw CheckpointError(fmt::format("[checkpoint] {} holds a number that is none: {}", where, e.what()));
    }
}

nlohmann::json fingerprint(const Config& config, const std::map<std::string, std::vector<std::string>>& variables)
{
    nlohmann::json result = {{"variables", variables}};
    for (const char* key : {"model", "data.datasets", "task.multistep_input", "task.multistep_output", "task.timestep"})
        if (const auto part = config.find(key))
            result[key] = part->to_json();
    const auto layout = parallel::layout_from(config);
    if (layout.kind == parallel::JobKind::Ensemble)
        result["members of an ensemble"] = config.get<int64_t>("training.ensemble_size_per_device", 1) *
                                           layout.gpus_per_ensemble / std::max(1, layout.gpus_per_model);
    return result;
}

nlohmann::json fingerprint_of(const nlohmann::json& state)
{
    auto result = state.value("fingerprint", nlohmann::json::object());
    const auto datasets = result.find("data.datasets");
    if (datasets != result.end() && datasets->is_object() && datasets->size() == 1 && result.contains("variables") &&
        result["variables"].is_array())
        result["variables"] = {{datasets->begin().key(), result["variables"]}};
    return result;
}

void check_fingerprint(const nlohmann::json& then, const nlohmann::json& now, const std::string& where)
{
    const auto found = differences(then, now);
    GRADWIND_CHECK(found.empty(), CheckpointError,
                   "[checkpoint] {} was made with another configuration, its weights would mean something else: {}",
                   where, fmt::join(found, "; "));
}

} // namespace gradwind::train
