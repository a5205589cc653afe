// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/metrics_log.h"

#include "gradwind/core/error.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <set>

namespace gradwind::train
{
namespace
{

namespace fs = std::filesystem;

struct TemporaryFolder {
    fs::path path = fs::temp_directory_path() / ("gradwind-metrics-" + std::to_string(::getpid()));
    TemporaryFolder() { fs::create_directories(path); }
    ~TemporaryFolder() { fs::remove_all(path); }
};

std::string contents(const fs::path& path)
{
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

template <class T>
T little_endian(const std::string& bytes, size_t at)
{
    T value{};
    std::memcpy(&value, bytes.data() + at, sizeof(T));
    return value;
}

uint32_t masked(const std::string& bytes)
{
    const uint32_t crc = crc32c(std::as_bytes(std::span(bytes)));
    return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

/// The payloads of a TFRecord file, both checksums of each verified.
std::vector<std::string> records(const fs::path& path)
{
    const auto bytes = contents(path);
    std::vector<std::string> result;
    for (size_t at = 0; at < bytes.size();) {
        const auto length = little_endian<uint64_t>(bytes, at);
        EXPECT_EQ(little_endian<uint32_t>(bytes, at + 8), masked(bytes.substr(at, 8)));
        result.push_back(bytes.substr(at + 12, length));
        EXPECT_EQ(little_endian<uint32_t>(bytes, at + 12 + length), masked(result.back()));
        at += 16 + length;
    }
    return result;
}

/// A protobuf message as field number -> raw values (numbers as their bits).
std::multimap<uint64_t, std::string> fields(const std::string& message)
{
    std::multimap<uint64_t, std::string> result;
    size_t at = 0;
    const auto varint = [&] {
        uint64_t value = 0;
        for (int shift = 0;; shift += 7) {
            const auto byte = uint8_t(message.at(at++));
            value |= uint64_t(byte & 0x7f) << shift;
            if (byte < 0x80)
                return value;
        }
    };
    while (at < message.size()) {
        const auto key = varint();
        size_t length = 0;
        if ((key & 7) == 0) {
            result.emplace(key >> 3, std::to_string(varint()));
            continue;
        }
        length = (key & 7) == 1 ? 8 : (key & 7) == 5 ? 4 : size_t(varint());
        result.emplace(key >> 3, message.substr(at, length));
        at += length;
    }
    return result;
}

std::vector<nlohmann::json> lines(const fs::path& path)
{
    std::vector<nlohmann::json> result;
    std::ifstream in(path);
    for (std::string line; std::getline(in, line);)
        result.push_back(nlohmann::json::parse(line));
    return result;
}

TEST(Crc32c, KnownValue)
{
    const std::string text = "123456789";
    EXPECT_EQ(crc32c(std::as_bytes(std::span(text))), 0xe3069283u);
}

TEST(MetricsLog, EventsDecodeToTheScalarsWritten)
{
    const TemporaryFolder run;
    MetricsLog log(run.path, std::nullopt);
    log.write({.event = "train",
               .step = 300,
               .epoch = 2,
               .wall_s = 1.5,
               .values = {{"train_loss", 0.25}, {"lr-AdamW", 1e-3}}});
    fs::path file;
    for (const auto& entry : fs::directory_iterator(run.path / "events"))
        file = entry.path();
    EXPECT_TRUE(file.filename().string().starts_with("events.out.tfevents."));
    const auto found = records(file);
    ASSERT_EQ(found.size(), 2u);
    EXPECT_EQ(fields(found[0]).find(3)->second, "brain.Event:2");
    const auto event = fields(found[1]);
    EXPECT_EQ(event.find(2)->second, "300");
    EXPECT_GT(little_endian<double>(event.find(1)->second, 0), 1.6e9);
    std::map<std::string, float> scalars;
    const auto summary = fields(event.find(5)->second);
    for (auto [value, last] = summary.equal_range(1); value != last; ++value) {
        const auto scalar = fields(value->second);
        scalars[scalar.find(1)->second] = little_endian<float>(scalar.find(2)->second, 0);
    }
    EXPECT_EQ(scalars, (std::map<std::string, float>{{"train_loss", 0.25f}, {"lr-AdamW", 1e-3f}}));
}

TEST(MetricsLog, ResumingCutsOffWhatWasWrittenAfterTheCheckpoint)
{
    const TemporaryFolder run;
    LogPosition position;
    {
        MetricsLog log(run.path, std::nullopt);
        for (int64_t step = 1; step <= 5; ++step) {
            log.write({.event = "train", .step = step, .values = {{"loss", double(step)}}});
            if (step == 3)
                position = {.step = 3, .bytes = log.synced_bytes()};
        }
    }
    MetricsLog log(run.path, position);
    log.write({.event = "train", .step = 4, .values = {{"loss", std::nan("")}}});
    const auto rows = lines(run.path / "metrics.jsonl");
    ASSERT_EQ(rows.size(), 4u);
    EXPECT_EQ(rows[2]["step"], 3);
    EXPECT_EQ(rows[2]["loss"], 3.0);
    EXPECT_EQ(rows[3]["step"], 4);
    EXPECT_TRUE(rows[3]["loss"].is_null());

    std::set<std::string> session_starts;
    for (const auto& entry : fs::directory_iterator(run.path / "events"))
        for (const auto& record : records(entry.path()))
            if (const auto event = fields(record); event.contains(7))
                session_starts.insert(event.find(2)->second);
    EXPECT_EQ(session_starts, std::set<std::string>{"4"}) << "TensorBoard forgets events from step 4 on";
}

TEST(MetricsLog, AFolderThatCannotBeWrittenIsADataError)
{
    EXPECT_THROW(MetricsLog("/proc/no-such-folder", std::nullopt), DataError);
}

} // namespace
} // namespace gradwind::train
