// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Files that somebody made to do harm: each is refused with a DataError, or what is read lies inside the file.
#include "gradwind/core/error.h"
#include "gradwind/core/safetensors.h"

#include <cstring>
#include <fstream>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <random>
#include <unistd.h>

namespace gradwind
{
namespace
{

using nlohmann::json;

class HostileFile : public testing::Test
{
protected:
    ~HostileFile() override { std::filesystem::remove(path_); }

    void write(uint64_t header_bytes, const std::string& rest) const
    {
        std::ofstream out(path_, std::ios::binary);
        out.write(reinterpret_cast<const char*>(&header_bytes), 8);
        out << rest;
    }

    void write(const std::string& header, size_t data_bytes) const
    {
        write(header.size(), header + std::string(data_bytes, '\1'));
    }

    /// The words of the refusal; fails if there is none.
    std::string refusal() const
    {
        try {
            const SafetensorsFile file(path_);
            ADD_FAILURE() << "accepted";
        } catch (const DataError& error) {
            return error.what();
        }
        return {};
    }

    /// Reads everything of a file that was accepted. @return whether it was
    bool read_all() const
    {
        try {
            const SafetensorsFile file(path_);
            size_t bytes = 0;
            for (const auto& [name, info] : file.tensors()) {
                const auto data = file.bytes(name);
                EXPECT_EQ(data.size(), size_t(info.count()) * size_of(info.dtype));
                for (const auto byte : data)
                    bytes += size_t(byte); // touches every byte: the sanitizer would see one outside of the file
                if (info.dtype != DType::F16 && info.dtype != DType::BF16) {
                    EXPECT_EQ(file.values<double>(name).size(), size_t(info.count()));
                }
            }
            static_cast<void>(bytes);
            return true;
        } catch (const DataError&) {
            return false;
        }
    }

    std::filesystem::path path_ =
        std::filesystem::temp_directory_path() / ("gradwind-hostile-" + std::to_string(::getpid()));
};

struct Row {
    const char* header;
    size_t data_bytes;
    const char* words;
};

TEST_F(HostileFile, HeadersAreRefusedWithAReason)
{
    const std::vector<Row> rows = {
        {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
         12, "overlap"},
        {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
         8, "overlap"},
        {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}})", 16, "belong to no tensor"},
        {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 12, "belong to no tensor"},
        {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 4, "outside"},
        {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8, "outside"},
        {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}})", 8, "outside"},
        {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[18446744073709551608,18446744073709551615]}})", 8,
         "outside"},
        {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}})", 8, "outside"},
        {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,1e300]}})", 8, "no whole number"},
        {R"({"a":{"dtype":"F32","shape":[2.9],"data_offsets":[0,8]}})", 8, "no whole number"},
        {R"({"a":{"dtype":"F32","shape":[true,2],"data_offsets":[0,8]}})", 8, "no whole number"},
        {R"({"a":{"dtype":"F32","shape":"2","data_offsets":[0,8]}})", 8, "must be lists"},
        {R"({"a":{"dtype":"F32","shape":[-2,-1],"data_offsets":[0,8]}})", 8, "negative extent"},
        {R"({"a":{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,8]}})", 8, "negative extent"},
        {R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", 0, "overflows"},
        {R"({"a":{"dtype":"F32","shape":[0,4611686018427387904,4],"data_offsets":[0,0]}})", 0, "overflows"},
        {R"({"a":{"dtype":"F64","shape":[4611686018427387904],"data_offsets":[0,0]}})", 0, "do not match"},
        {R"({"a":{"dtype":"F64","shape":[2],"data_offsets":[0,8]}})", 8, "do not match"},
        {R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8, "do not match"},
        {R"({"a":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}})", 8, "not supported"},
        {R"({"a":{"dtype":4,"shape":[2],"data_offsets":[0,8]}})", 8, "malformed"},
        {R"({"a":{"shape":[2],"data_offsets":[0,8]}})", 8, "needs dtype"},
        {R"({"a":[1,2]})", 0, "needs dtype"},
        {R"({"a":null})", 0, "needs dtype"},
        {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
         4, "two entries"},
        {R"({"__metadata__":{"k":1}})", 0, "malformed"},
        {R"({"__metadata__":"text"})", 0, "malformed"},
        {R"([])", 0, "not a JSON object"},
        {R"({"a")", 0, "not a JSON object"},
        {"{\"\xff\":{}}", 0, "not a JSON object"},
        {"", 0, "not a JSON object"},
        {R"({"a":{"dtype":"F32","shape":[[[[1]]]],"data_offsets":[0,4]}})", 4, "nested too deeply"},
    };
    for (const auto& row : rows) {
        SCOPED_TRACE(row.header);
        write(row.header, row.data_bytes);
        EXPECT_NE(refusal().find(row.words), std::string::npos) << refusal();
    }
}

TEST_F(HostileFile, SizesOfTheHeaderAreRefused)
{
    const std::string good = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})" + std::string(8, '\0');
    for (const uint64_t size : {uint64_t(0), uint64_t(1), uint64_t(good.size() + 1), uint64_t(100'000'001),
                                uint64_t(1) << 31, uint64_t(1) << 63, ~uint64_t(0), ~uint64_t(0) - 7}) {
        write(size, good);
        EXPECT_FALSE(refusal().empty()) << size;
    }
    for (size_t length = 0; length < 8 + good.size(); ++length) {
        write(good.size() - 8, good);
        std::filesystem::resize_file(path_, length);
        EXPECT_FALSE(refusal().empty()) << length;
    }
}

TEST_F(HostileFile, DeepNestingEndsBeforeItCostsMemory)
{
    const size_t depth = 50'000'000;
    write(std::string(depth, '['), 0);
    EXPECT_NE(refusal().find("nested too deeply"), std::string::npos);
    write("{\"a\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}", 0);
    EXPECT_NE(refusal().find("nested too deeply"), std::string::npos);
    std::string shape = "1";
    for (int i = 0; i < 100; ++i)
        shape += ",1";
    write(R"({"a":{"dtype":"U8","shape":[)" + shape + R"(],"data_offsets":[0,1]}})", 1);
    EXPECT_NE(refusal().find("dimensions"), std::string::npos);
}

/// Numbers at the edges of all types involved.
json odd_number(std::mt19937& random)
{
    const std::vector<json> odd = {0,
                                   1,
                                   -1,
                                   7,
                                   8,
                                   9,
                                   64,
                                   65,
                                   INT32_MAX,
                                   1e18,
                                   INT64_MAX,
                                   INT64_MIN,
                                   UINT64_MAX,
                                   2.5,
                                   -0.0,
                                   1e300,
                                   true,
                                   nullptr,
                                   "8",
                                   UINT32_MAX,
                                   uint64_t(1) << 62,
                                   json::array(),
                                   json::object()};
    return odd[random() % odd.size()];
}

/// Changes one place of a header's tree.
void mutate(json& header, std::mt19937& random)
{
    auto entry = header.begin();
    std::advance(entry, random() % header.size());
    auto& tensor = entry.value();
    if (!tensor.is_object() || tensor.empty()) {
        tensor = odd_number(random);
        return;
    }
    static const std::vector<const char*> types = {"F64", "F32", "F16", "BF16", "I64", "I32",
                                                   "I16", "I8",  "U8",  "BOOL", "X"};
    switch (random() % 6) {
    case 0:
        tensor["dtype"] = types[random() % types.size()];
        break;
    case 1:
        tensor["shape"][random() % 3] = odd_number(random);
        break;
    case 2:
        tensor["data_offsets"][random() % 2] = odd_number(random);
        break;
    case 3:
        tensor["data_offsets"][random() % 2] = random() % 80;
        break;
    case 4:
        tensor.erase(std::next(tensor.begin(), int(random() % tensor.size())));
        break;
    case 5:
        tensor["shape"].push_back(int(random() % 3));
        break;
    }
}

TEST_F(HostileFile, MutatedHeadersNeverReadOutsideTheFile)
{
    const json good = {{"a", {{"dtype", "F32"}, {"shape", {2, 4}}, {"data_offsets", {0, 32}}}},
                       {"b", {{"dtype", "I64"}, {"shape", {3}}, {"data_offsets", {32, 56}}}},
                       {"c", {{"dtype", "U8"}, {"shape", {8}}, {"data_offsets", {56, 64}}}}};
    std::mt19937 random(20000101);
    int accepted = 0, refused = 0;
    for (int round = 0; round < 4000; ++round) {
        auto header = good;
        for (size_t k = 0; k <= random() % 2; ++k)
            try {
                mutate(header, random);
            } catch (const json::exception&) { // an earlier change left nothing to change here
            }
        auto text = header.dump();
        if (round % 4 == 0)
            text[random() % text.size()] = char(random());
        write(text, 64 - random() % 2 * (random() % 9));
        (read_all() ? accepted : refused) += 1;
    }
    EXPECT_GT(accepted, 50);
    EXPECT_GT(refused, 2000);
}

TEST_F(HostileFile, AFileThatIsNoneIsRefused)
{
    path_ = std::filesystem::temp_directory_path();
    EXPECT_FALSE(refusal().empty());
    path_ = "/dev/zero";
    EXPECT_FALSE(refusal().empty());
    path_ = "/nonexistent";
    EXPECT_FALSE(refusal().empty());
}

} // namespace
} // namespace gradwind
