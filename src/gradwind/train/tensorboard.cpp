// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/tensorboard.h"

#include "gradwind/core/error.h"

#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <unistd.h>

namespace gradwind::train
{

namespace
{

// Field numbers and wire types of the messages Event, Summary, Summary.Value and SessionLog.
enum class Wire : uint32_t { Varint = 0, Fixed64 = 1, Bytes = 2, Fixed32 = 5 };

void put_varint(std::string& out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        out.push_back(char(uint8_t(value) | 0x80));
    out.push_back(char(value));
}

void put_key(std::string& out, uint32_t field, Wire wire)
{
    put_varint(out, (field << 3) | uint32_t(wire));
}

template <class T>
void put_little_endian(std::string& out, T value)
{
    for (size_t i = 0; i < sizeof(T); ++i)
        out.push_back(char(uint8_t(value >> (8 * i))));
}

void put_bytes(std::string& out, uint32_t field, const std::string& bytes)
{
    put_key(out, field, Wire::Bytes);
    put_varint(out, bytes.size());
    out += bytes;
}

std::string event_at(int64_t step)
{
    std::string event;
    const double now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
    put_key(event, 1, Wire::Fixed64);
    put_little_endian(event, std::bit_cast<uint64_t>(now));
    put_key(event, 2, Wire::Varint);
    put_varint(event, uint64_t(step));
    return event;
}

constexpr std::array<uint32_t, 256> make_crc_table()
{
    std::array<uint32_t, 256> table{};
    for (uint32_t i = 0; i < 256; ++i) {
        uint32_t value = i;
        for (int bit = 0; bit < 8; ++bit)
            value = (value >> 1) ^ ((value & 1) ? 0x82f63b78u : 0u);
        table[i] = value;
    }
    return table;
}

uint32_t masked_crc(const std::string& bytes)
{
    const uint32_t crc = crc32c(std::as_bytes(std::span(bytes)));
    return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

} // namespace

uint32_t crc32c(std::span<const std::byte> bytes)
{
    static constexpr auto kTable = make_crc_table();
    uint32_t crc = 0xffffffffu;
    for (const auto byte : bytes)
        crc = kTable[(crc ^ uint32_t(byte)) & 0xff] ^ (crc >> 8);
    return ~crc;
}

TensorboardWriter::TensorboardWriter(const std::filesystem::path& folder, std::optional<int64_t> resumed_step)
{
    std::error_code failed;
    std::filesystem::create_directories(folder, failed);
    std::array<char, 256> host{};
    ::gethostname(host.data(), host.size() - 1);
    const auto seconds =
        std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
    for (int attempt = 0;; ++attempt) {
        path_ = folder / fmt::format("events.out.tfevents.{:010d}.{}.{}.{}", seconds, host.data(), ::getpid(), attempt);
        if (!std::filesystem::exists(path_))
            break;
    }
    file_.open(path_, std::ios::binary);
    GRADWIND_CHECK(file_.good(), DataError, "[run] cannot create {}: {}", path_.string(), std::strerror(errno));
    auto event = event_at(0);
    put_bytes(event, 3, "brain.Event:2");
    record(event);
    if (resumed_step) {
        auto start = event_at(*resumed_step + 1);
        std::string session_log;
        put_key(session_log, 1, Wire::Varint);
        put_varint(session_log, 1); // START: events of older files from this step on are discarded
        put_bytes(start, 7, session_log);
        record(start);
    }
}

void TensorboardWriter::write(int64_t step, const std::vector<std::pair<std::string, double>>& scalars)
{
    std::string summary;
    for (const auto& [tag, number] : scalars) {
        std::string value;
        put_bytes(value, 1, tag);
        put_key(value, 2, Wire::Fixed32);
        put_little_endian(value, std::bit_cast<uint32_t>(float(number)));
        put_bytes(summary, 1, value);
    }
    auto event = event_at(step);
    put_bytes(event, 5, summary);
    record(event);
}

void TensorboardWriter::record(const std::string& event)
{
    std::string bytes;
    put_little_endian(bytes, uint64_t(event.size()));
    put_little_endian(bytes, masked_crc(bytes));
    bytes += event;
    put_little_endian(bytes, masked_crc(event));
    file_.write(bytes.data(), std::streamsize(bytes.size()));
    file_.flush();
    GRADWIND_CHECK(file_.good(), DataError, "[run] cannot write {}: {}", path_.string(), std::strerror(errno));
}

} // namespace gradwind::train
