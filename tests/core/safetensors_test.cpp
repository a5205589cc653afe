// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/safetensors.h"

#include "gradwind/core/error.h"

#include <cstring>
#include <fstream>
#include <gtest/gtest.h>
#include <random>

namespace gradwind
{
namespace
{

std::filesystem::path scratch(const std::string& name)
{
    const auto folder = std::filesystem::temp_directory_path() / ("gradwind-safetensors-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder);
    return folder / name;
}

void write_raw(const std::filesystem::path& path, uint64_t header_bytes, const std::string& rest)
{
    std::ofstream out(path, std::ios::binary);
    out.write(reinterpret_cast<const char*>(&header_bytes), 8);
    out << rest;
}

void write_with_header(const std::filesystem::path& path, const std::string& header, size_t data_bytes)
{
    write_raw(path, header.size(), header + std::string(data_bytes, '\0'));
}

TEST(Safetensors, RoundTripKeepsBytesShapesAndMetadata)
{
    const std::vector<float> a = {1.5f, -2.0f, 3.25f, 0.0f, 1e-30f, 7.0f};
    const std::vector<int64_t> b = {1, -1};
    const auto path = scratch("round.safetensors");
    const std::vector<TensorBytes> tensors = {{"a", DType::F32, {2, 3}, std::as_bytes(std::span(a))},
                                              {"empty", DType::F64, {0, 4}, {}},
                                              {"b", DType::I64, {2}, std::as_bytes(std::span(b))}};
    write_safetensors(path, tensors, {{"k", "v"}});
    const SafetensorsFile file(path);
    EXPECT_EQ(file.values<float>("a"), a);
    EXPECT_EQ(file.values<int64_t>("b"), b);
    EXPECT_EQ(file.info("a").shape, (std::vector<int64_t>{2, 3}));
    EXPECT_EQ(file.info("empty").count(), 0);
    EXPECT_EQ(file.metadata().at("k"), "v");
}

TEST(Safetensors, LeavesTheTemporaryFilesOfOthersAlone)
{
    // As a process with the same number has them that runs in another container, or on another node.
    const auto path = scratch("shared.safetensors");
    const auto other = path.string() + ".tmp-" + std::to_string(::getpid()) + "-0";
    std::ofstream(other) << "half of it";
    write_safetensors(path, {}, {{"k", "v"}});
    EXPECT_EQ(SafetensorsFile(path).metadata().at("k"), "v");
    std::string text;
    std::getline(std::ifstream(other), text);
    EXPECT_EQ(text, "half of it");
}

TEST(Safetensors, RefusesDamagedFiles)
{
    const auto path = scratch("bad.safetensors");
    EXPECT_THROW(SafetensorsFile("/nonexistent/x.safetensors"), DataError);
    write_raw(path, 1ull << 60, "{}");
    EXPECT_THROW(SafetensorsFile{path}, DataError);
    write_with_header(path, "not json", 0);
    EXPECT_THROW(SafetensorsFile{path}, DataError);
    write_with_header(path, R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 4);
    EXPECT_THROW(SafetensorsFile{path}, DataError);
    write_with_header(path, R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8);
    EXPECT_THROW(SafetensorsFile{path}, DataError);
    write_with_header(path, R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", 8);
    EXPECT_THROW(SafetensorsFile{path}, DataError);
    write_with_header(path, R"({"a":{"dtype":"Q9","shape":[2],"data_offsets":[0,8]}})", 8);
    EXPECT_THROW(SafetensorsFile{path}, DataError);
    write_with_header(path, R"({"a":{"dtype":"F32","shape":["x"],"data_offsets":[0,8]}})", 8);
    EXPECT_THROW(SafetensorsFile{path}, DataError);
    write_with_header(
        path,
        R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
        12);
    EXPECT_THROW(SafetensorsFile{path}, DataError);
}

TEST(Safetensors, RandomCorruptionNeverCrashes)
{
    const std::vector<float> a(64, 1.0f);
    const auto good = scratch("good.safetensors");
    const auto bad = scratch("fuzz.safetensors");
    const std::vector<TensorBytes> tensors = {{"a", DType::F32, {8, 8}, std::as_bytes(std::span(a))}};
    write_safetensors(good, tensors);
    std::ifstream in(good, std::ios::binary);
    const std::string original((std::istreambuf_iterator<char>(in)), {});
    std::mt19937 random(7);
    int refused = 0;
    for (int round = 0; round < 2000; ++round) {
        auto text = original;
        for (int k = 0; k < 3; ++k)
            text[random() % 80] = char(random());
        if (round % 5 == 0)
            text.resize(random() % text.size());
        std::ofstream(bad, std::ios::binary) << text;
        try {
            const SafetensorsFile file(bad);
            for (const auto& [name, info] : file.tensors()) {
                if (info.dtype != DType::F16 && info.dtype != DType::BF16) {
                    EXPECT_EQ(file.values<double>(name).size(), size_t(info.count()));
                }
            }
        } catch (const DataError&) {
            ++refused;
        }
    }
    EXPECT_GT(refused, 1000);
}

TEST(Safetensors, AFailedWriteLeavesTheOldFile)
{
    const std::vector<float> a = {1.0f};
    const auto path = scratch("keep.safetensors");
    write_safetensors(path, std::vector<TensorBytes>{{"a", DType::F32, {1}, std::as_bytes(std::span(a))}});
    EXPECT_THROW(write_safetensors("/nonexistent-folder/x.safetensors", {}), DataError);
    EXPECT_EQ(SafetensorsFile(path).values<float>("a"), a);
}

} // namespace
} // namespace gradwind
