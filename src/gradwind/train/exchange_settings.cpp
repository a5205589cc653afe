// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/exchange_settings.h"

#include "gradwind/core/config_yaml.h"
#include "gradwind/core/error.h"
#include "gradwind/core/text.h"
#include "gradwind/parallel/layout_config.h"

#include <algorithm>
#include <sstream>

namespace gradwind::train
{

namespace
{

using parallel::Compression;
using parallel::WireType;

constexpr const char* kKinds[] = {"none", "powersgd", "acp"}; // in the order of Compression

/// Reads what is present in a mapping with the keys of `training.strategy`.
void read_section(const Config& section, parallel::EngineOptions& options)
{
    options.bucket_cap_mb = section.get<double>("bucket_cap_mb", options.bucket_cap_mb);
    options.first_bucket_mb = section.get<double>("first_bucket_mb", options.first_bucket_mb);
    if (section.has("wire_dtype")) {
        const auto word = section.get<std::string>("wire_dtype");
        GRADWIND_CHECK(word == "fp32" || word == "bf16", ConfigError,
                       "[train] expected fp32 or bf16 for {}, found `{}`", section.at("wire_dtype").where(), word);
        options.wire = word == "bf16" ? WireType::Bf16 : WireType::AsStored;
    }
    auto& compression = options.compression;
    if (section.has("gradient_compression.kind")) {
        const auto word = section.get<std::string>("gradient_compression.kind");
        const auto* found = std::find(std::begin(kKinds), std::end(kKinds), word);
        GRADWIND_CHECK(found != std::end(kKinds), ConfigError,
                       "[train] expected none, powersgd or acp for {}, found `{}`{}",
                       section.at("gradient_compression.kind").where(), word,
                       did_you_mean(word, std::vector<std::string>(std::begin(kKinds), std::end(kKinds))));
        compression.kind = static_cast<Compression>(found - std::begin(kKinds));
    }
    const auto at_least = [&](const char* key, auto fallback, auto least) {
        const auto value = section.get<decltype(fallback)>(key, fallback);
        GRADWIND_CHECK(value >= least, ConfigError, "[train] expected at least {} for {}, found {}", least,
                       section.at(key).where(), value);
        return value;
    };
    compression.rank = at_least("gradient_compression.rank", compression.rank, int64_t{1});
    compression.start_step = at_least("gradient_compression.start_step", compression.start_step, int64_t{0});
    compression.min_ratio = at_least("gradient_compression.min_ratio", compression.min_ratio, 0.0);
}

Config read_plan(const std::filesystem::path& file)
{
    const Config plan(freeze(parse_yaml_file(file)));
    for (const auto& key : plan.keys())
        GRADWIND_CHECK(key == "bucket_bytes" || key == "wire_dtype" || key == "gradient_compression", ConfigError,
                       "[train] expected bucket_bytes, wire_dtype and gradient_compression in a plan, found {}",
                       plan.at(key).where());
    return plan;
}

} // namespace

parallel::EngineOptions exchange_settings(const Config& config)
{
    parallel::EngineOptions options;
    options.compression.start_step = config.get<int64_t>("training.optimization.lr_scheduler.warmup_t", 0);
    const auto section = config.find("training.strategy");
    if (!section || !section->is_map())
        return options;
    read_section(*section, options);
    options.zero_group_size = static_cast<int>(section->get<int64_t>("zero_group_size", 1));
    GRADWIND_CHECK(options.zero_group_size >= 1, ConfigError, "[train] expected at least 1 for {}, found {}",
                   section->at("zero_group_size").where(), options.zero_group_size);
    if (section->get<bool>("hierarchical", false))
        options.node_size = parallel::layout_from(config).gpus_per_node;
    GRADWIND_CHECK(
        !section->get<bool>("broadcast_buffers", false) ||
            config.get<int64_t>("system.hardware.num_gpus_per_model", 1) == 1,
        ConfigError,
        "[train] expected training.strategy.broadcast_buffers=false for a model over several processes: each "
        "of them holds its own part of the graph");
    if (section->has("plan")) {
        const auto plan = read_plan(section->get<std::string>("plan"));
        read_section(plan, options);
        options.bucket_bytes = plan.get<std::vector<int64_t>>("bucket_bytes", {});
        for (const auto bytes : options.bucket_bytes)
            GRADWIND_CHECK(bytes > 0, ConfigError, "[train] expected sizes above 0 for {}, found {}",
                           plan.at("bucket_bytes").where(), bytes);
    }
    return options;
}

std::string plan_to_yaml(const parallel::EngineOptions& options, const std::string& comment)
{
    std::string text;
    std::istringstream lines(comment);
    for (std::string line; std::getline(lines, line);)
        text += "# " + line + "\n";
    if (!options.bucket_bytes.empty())
        text += fmt::format("bucket_bytes: [{}]\n", fmt::join(options.bucket_bytes, ", "));
    text += fmt::format("wire_dtype: {}\n", options.wire == WireType::Bf16 ? "bf16" : "fp32");
    text += fmt::format("gradient_compression:\n  kind: {}\n", kKinds[static_cast<size_t>(options.compression.kind)]);
    if (options.compression.kind != Compression::None)
        text += fmt::format("  rank: {}\n  min_ratio: {}\n", options.compression.rank, options.compression.min_ratio);
    return text;
}

} // namespace gradwind::train
