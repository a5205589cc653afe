// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/exchange_settings.h"

#include "gradwind/core/error.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <fstream>

namespace gradwind::train
{
namespace
{

using nlohmann::json;
using parallel::Compression;
using parallel::WireType;

Config config_with(const json& strategy)
{
    return Config::from_json(
        {{"training", {{"strategy", strategy}, {"optimization", {{"lr_scheduler", {{"warmup_t", 70}}}}}}}}, "test");
}

/// A file that goes away with its test.
struct TemporaryFile {
    std::filesystem::path path =
        std::filesystem::temp_directory_path() / ("gradwind-plan-" + std::to_string(::getpid()) + ".yaml");
    explicit TemporaryFile(const std::string& text) { std::ofstream(path) << text; }
    ~TemporaryFile() { std::filesystem::remove(path); }
};

std::string message_of(const json& strategy)
{
    try {
        (void)exchange_settings(config_with(strategy));
    } catch (const ConfigError& error) {
        return error.what();
    }
    return "no error";
}

TEST(ExchangeSettings, ReadsTheStrategy)
{
    const auto options = exchange_settings(config_with(
        {{"bucket_cap_mb", 7}, {"wire_dtype", "bf16"}, {"gradient_compression", {{"kind", "acp"}, {"rank", 3}}}}));
    EXPECT_EQ(options.bucket_cap_mb, 7);
    EXPECT_EQ(options.wire, WireType::Bf16);
    EXPECT_EQ(options.compression.kind, Compression::Acp);
    EXPECT_EQ(options.compression.rank, 3);
    EXPECT_EQ(options.compression.start_step, 70) << "whole gradients while the rate rises";
    EXPECT_EQ(exchange_settings(config_with({{"gradient_compression", {{"start_step", 5}}}})).compression.start_step,
              5);
    EXPECT_EQ(exchange_settings(Config::from_json(json::object(), "test")).compression.kind, Compression::None);
}

TEST(ExchangeSettings, APlanWinsAndIsReadAsWritten)
{
    parallel::EngineOptions plan;
    plan.bucket_bytes = {256, 1024, 512};
    plan.wire = WireType::Bf16;
    plan.compression = {.kind = Compression::PowerSgd, .rank = 6, .start_step = 9, .min_ratio = 1.5};
    const TemporaryFile file(plan_to_yaml(plan, "one\ntwo"));
    const auto read =
        exchange_settings(config_with({{"plan", file.path.string()}, {"wire_dtype", "fp32"}, {"bucket_cap_mb", 3}}));
    EXPECT_EQ(read.bucket_bytes, plan.bucket_bytes);
    EXPECT_EQ(read.wire, WireType::Bf16);
    EXPECT_EQ(read.compression.kind, Compression::PowerSgd);
    EXPECT_EQ(read.compression.rank, 6);
    EXPECT_EQ(read.compression.min_ratio, 1.5);
    EXPECT_EQ(read.compression.start_step, 70) << "belongs to the training, not to the machine";
}

TEST(ExchangeSettings, ANodeIsWhatTheHardwareSays)
{
    const json hardware = {{"hardware", {{"num_nodes", 3}, {"num_gpus_per_node", 4}}}};
    const auto settings = [&](const json& strategy) {
        return exchange_settings(
            Config::from_json({{"system", hardware}, {"training", {{"strategy", strategy}}}}, "test"));
    };
    EXPECT_EQ(settings({{"hierarchical", true}}).node_size, 4);
    EXPECT_EQ(settings({{"hierarchical", false}}).node_size, 1);
    EXPECT_EQ(settings({{"zero_group_size", 6}}).zero_group_size, 6);
    EXPECT_EQ(settings({{"bucket_cap_mb", 6}}).zero_group_size, 1);
}

TEST(ExchangeSettings, WhatCannotWorkIsNamed)
{
    EXPECT_NE(message_of({{"gradient_compression", {{"kind", "apc"}}}}).find("did you mean `acp`"), std::string::npos);
    EXPECT_NE(message_of({{"gradient_compression", {{"rank", 0}}}}).find("training.strategy.gradient_compression.rank"),
              std::string::npos);
    EXPECT_NE(message_of({{"zero_group_size", 0}}).find("training.strategy.zero_group_size"), std::string::npos);
    EXPECT_NE(message_of({{"wire_dtype", "fp16"}}).find("fp32 or bf16"), std::string::npos);
    const auto shared = Config::from_json({{"training", {{"strategy", {{"broadcast_buffers", true}}}}},
                                           {"system", {{"hardware", {{"num_gpus_per_model", 2}}}}}},
                                          "test");
    EXPECT_THROW((void)exchange_settings(shared), ConfigError);
    const TemporaryFile file("bucket_byte: [3]\n");
    const auto message = message_of({{"plan", file.path.string()}});
    EXPECT_NE(message.find("bucket_byte"), std::string::npos) << message;
    EXPECT_NE(message.find(file.path.string() + ":1"), std::string::npos) << message;
    EXPECT_NE(message_of({{"plan", "/nowhere.yaml"}}).find("/nowhere.yaml"), std::string::npos);
}

} // namespace
} // namespace gradwind::train
