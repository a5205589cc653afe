// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/cli/exchange_table.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace gradwind::cli
{
namespace
{

using parallel::Verb;

std::string text_of(const std::vector<std::string>& lines)
{
    std::string text;
    for (const auto& line : lines)
        text += line + "\n";
    return text;
}

train::StepTraffic shared_state()
{
    train::StepTraffic traffic;
    traffic.exchange = {
        .buckets = 7,
        .parameters = 4'000'000,
        .gradients = 4'000'000,
        .owned = 500'000,
        .work = 90'000,
        .dense = {.buffers = 2'000'000,
                  .calls = {{"zero", Verb::AllGather, 8, 2'000'008}, {"zero", Verb::ReduceScatter, 7, 2'000'000}}}};
    traffic.moment_bytes = 4'000'000;
    traffic.first_step_bytes = 8'000'000;
    return traffic;
}

TEST(ExchangeTable, ShowsEveryCollectiveAndAllMemory)
{
    const auto traffic = shared_state();
    const auto calls = text_of(exchange_table(traffic.exchange));
    EXPECT_NE(calls.find("every step   zero           all_gather               8       2.0 MB"), std::string::npos)
        << calls;
    EXPECT_NE(calls.find("reduce_scatter           7       2.0 MB"), std::string::npos) << calls;
    const auto memory = text_of(memory_table(traffic));
    EXPECT_NE(memory.find("together                  14.0 MB"), std::string::npos) << memory;
    EXPECT_NE(memory.find("sums                      90.0 kB"), std::string::npos) << memory;
    EXPECT_NE(memory.find("not predicted"), std::string::npos) << memory;
    EXPECT_EQ(memory_json(traffic)["together"], 14'000'000);
    EXPECT_EQ(exchange_json(traffic.exchange)[0]["calls_per_step"], 8);
    EXPECT_TRUE(exchange_table({}).empty()) << "one process sends nothing";
}

TEST(ExchangeTable, TheLargerMessagesCountUnderCompression)
{
    auto traffic = shared_state();
    traffic.exchange.compressed = {{.buffers = 3'000'000, .calls = {{"world", Verb::AllReduce, 4, 1000}}},
                                   {.buffers = 3'000'000, .calls = {{"world", Verb::AllReduce, 4, 2000}}}};
    EXPECT_EQ(memory_json(traffic)["messages"], 3'000'000);
    const auto calls = text_of(exchange_table(traffic.exchange));
    for (const char* steps : {"whole ", "factors p ", "factors q "})
        EXPECT_NE(calls.find(steps), std::string::npos) << calls;
}

} // namespace
} // namespace gradwind::cli
