// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Damaged stores: each gives one clear error, and none can crash or hang the reader.
#include "gradwind/core/error.h"
#include "gradwind/data/open_dataset.h"
#include "tests/data/tiny_store.h"

#include <functional>
#include <gtest/gtest.h>
#include <random>

namespace gradwind::data
{
namespace
{

using nlohmann::json;
namespace fs = std::filesystem;

void edit_json(const fs::path& path, const std::function<void(json&)>& change)
{
    auto value = json::parse(read_text(path));
    change(value);
    write_text(path, value.dump());
}

void read_everything(const Dataset& dataset)
{
    std::vector<float> values(size_t(dataset.n_members() * dataset.n_cells() * dataset.n_variables()));
    for (int64_t date = 0; date < dataset.n_dates(); ++date)
        if (!dataset.missing()[size_t(date)])
            dataset.read({&date, 1}, {0, dataset.n_cells()}, values);
    (void)dataset.statistics_tendencies(21600);
}

std::string error_of(const fs::path& store, const json& options = json::object())
{
    auto all = options;
    all["dataset"] = store.string();
    try {
        read_everything(*open_dataset(all));
    } catch (const Error& error) {
        return error.what();
    }
    return "no error";
}

struct Damage {
    const char* what;
    std::function<void(const fs::path&)> apply;
    std::vector<std::string> message; ///< parts that it must have
};

std::function<void(const fs::path&)> attributes(std::function<void(json&)> change)
{
    return [change](const fs::path& store) { edit_json(store / ".zattrs", change); };
}

std::function<void(const fs::path&)> array(const char* name, std::function<void(json&)> change)
{
    return [name, change](const fs::path& store) { edit_json(store / name / ".zarray", change); };
}

std::function<void(const fs::path&)> chunk(std::function<void(std::string&)> change)
{
    return [change](const fs::path& store) {
        auto bytes = read_text(store / "data/1.0.0.0");
        change(bytes);
        write_text(store / "data/1.0.0.0", bytes);
    };
}

void set_int32(std::string& bytes, size_t at, int32_t value)
{
    std::memcpy(bytes.data() + at, &value, 4);
}

std::vector<Damage> damages()
{
    return {
        {"chunk cut short", chunk([](auto& b) { b.resize(b.size() - 5); }), {"data/1.0.0.0", "cut short"}},
        {"chunk of a few bytes", chunk([](auto& b) { b.resize(7); }), {"data/1.0.0.0", "too few"}},
        {"chunk empty", chunk([](auto& b) { b.clear(); }), {"data/1.0.0.0", "too few"}},
        {"header overwritten", chunk([](auto& b) { b.replace(0, 16, 16, 'x'); }), {"data/1.0.0.0", "blosc header"}},
        {"other size declared", chunk([](auto& b) { set_int32(b, 4, 12); }), {"data/1.0.0.0", "declares 12 bytes"}},
        {"blocks of no size", chunk([](auto& b) { set_int32(b, 8, 0); }), {"data/1.0.0.0", "blocks of 0 bytes"}},
        {"block offset outside", chunk([](auto& b) { set_int32(b, 20, 1 << 30); }), {"data/1.0.0.0", "block 1 starts"}},
        {"block length absurd",
         chunk([](auto& b) { set_int32(b, size_t(*reinterpret_cast<int32_t*>(b.data() + 16)), -5); }),
         {"data/1.0.0.0", "block 0 does not decode"}},
        {"folder for a chunk",
         [](const fs::path& s) {
             fs::remove(s / "data/1.0.0.0");
             fs::create_directory(s / "data/1.0.0.0");
         },
         {"data/1.0.0.0", "not a file"}},
        {"no .zgroup", [](const fs::path& s) { fs::remove(s / ".zgroup"); }, {".zgroup"}},
        {"no .zattrs", [](const fs::path& s) { fs::remove(s / ".zattrs"); }, {".zattrs"}},
        {"no data", [](const fs::path& s) { fs::remove_all(s / "data"); }, {"`data` is missing"}},
        {"no dates", [](const fs::path& s) { fs::remove_all(s / "dates"); }, {"`dates` is missing"}},
        {"no mean", [](const fs::path& s) { fs::remove_all(s / "mean"); }, {"`mean` is missing"}},
        {"no latitudes", [](const fs::path& s) { fs::remove_all(s / "latitudes"); }, {"`latitudes` is missing"}},
        {"mean cut short",
         [](const fs::path& s) { write_text(s / "mean/0", read_text(s / "mean/0").substr(0, 20)); },
         {"mean/0", "cut short"}},
        {"tendencies without a member",
         [](const fs::path& s) { fs::remove_all(s / "statistics_tendencies_6h_stdev"); },
         {"statistics_tendencies_6h_stdev"}},
        {".zattrs is no JSON",
         [](const fs::path& s) { write_text(s / ".zattrs", "{\"variables\": ["); },
         {"not valid JSON"}},
        {".zattrs is a list", [](const fs::path& s) { write_text(s / ".zattrs", "[1]"); }, {"JSON object"}},
        {"no resolution", attributes([](json& a) { a.erase("resolution"); }), {"`resolution` is missing"}},
        {"no variables", attributes([](json& a) { a.erase("variables"); }), {"`variables` is missing"}},
        {"a name dropped", attributes([](json& a) { a["variables"].erase(2); }), {"4 names", "5 variables"}},
        {"a name twice", attributes([](json& a) { a["variables"][2] = "v1"; }), {"`v1` twice"}},
        {"names are numbers", attributes([](json& a) { a["variables"][2] = 7; }), {"must hold names"}},
        {"missing date shifted",
         attributes([](json& a) { a["missing_dates"] = {"1996-01-01T01:00:00"}; }),
         {"1996-01-01T01:00:00", "not among the dates"}},
        {"missing date no date", attributes([](json& a) { a["missing_dates"] = {"soon"}; }), {"soon", "not a date"}},
        {"frequency differs", attributes([](json& a) { a["frequency"] = "12h"; }), {"12h", "6h apart"}},
        {"frequency no duration", attributes([](json& a) { a["frequency"] = {1}; }), {"frequency"}},
        {"field shape too large",
         attributes([](json& a) {
             a["field_shape"] = {1000, 1000};
         }),
         {"field_shape"}},
        {"layout", attributes([](json& a) { a["layout"] = "tabular"; }), {"tabular", "not supported"}},
        {"dates irregular",
         [](const fs::path& s) {
             const auto at = TinyStore::date(0);
             TinyStore().write_line(
                 s / "dates", "<M8[s]",
                 std::vector<int64_t>{at, at + 21600, at + 50000, at + 64800, at + 86400, at + 108000});
         },
         {"equally spaced"}},
        {"date not a time",
         [](const fs::path& s) {
             TinyStore().write_line(s / "dates", "<M8[s]",
                                    std::vector<int64_t>(6, std::numeric_limits<int64_t>::min()));
         },
         {"dates", "not a date"}},
        {"latitude NaN",
         [](const fs::path& s) {
             TinyStore().write_line(s / "latitudes", "<f8", std::vector<double>(77, std::nan("")));
         },
         {"cell 0 lies at"}},
        {"latitudes in another number",
         [](const fs::path& s) { TinyStore().write_line(s / "latitudes", "<f8", std::vector<double>(76, 1.0)); },
         {"latitudes", "expected 77"}},
        {"zarr_format 3", array("data", [](json& a) { a["zarr_format"] = 3; }), {"zarr_format 3", "not supported"}},
        {"Fortran order", array("data", [](json& a) { a["order"] = "F"; }), {"Fortran", "not supported"}},
        {"big-endian", array("data", [](json& a) { a["dtype"] = ">f4"; }), {"big-endian", "not supported"}},
        {"filters",
         array("data",
               [](json& a) {
                   a["filters"] = {{{"id", "delta"}}};
               }),
         {"filter", "not supported"}},
        {"codec",
         array("data",
               [](json& a) {
                   a["compressor"] = {{"id", "lzma"}};
               }),
         {"lzma", "not supported"}},
        {"three dimensions",
         array("data",
               [](json& a) {
                   a["shape"] = {6, 5, 2};
                   a["chunks"] = {1, 5, 2};
               }),
         {"4 dimensions"}},
        {"sizes overflow",
         array("data",
               [](json& a) {
                   a["shape"] = {1ll << 40, 1ll << 40, 2, 77};
               }),
         {"too large"}},
        {"negative size", array("data", [](json& a) { a["shape"][3] = -77; }), {"-77"}},
        {"chunk of no size", array("data", [](json& a) { a["chunks"][3] = 0; }), {"a size in `chunks` is 0"}},
        {"chunk too large", array("data", [](json& a) { a["chunks"][3] = 1 << 30; }), {"2 GiB"}},
        {"shape of strings", array("data", [](json& a) { a["shape"][0] = "6"; }), {"must hold integers"}},
        {"more dates than rows", array("data", [](json& a) { a["shape"][0] = 7; }), {"6 dates for 7 rows"}},
        {"absent without fill value",
         [](const fs::path& s) {
             edit_json(s / "data/.zarray", [](json& a) { a["fill_value"] = nullptr; });
             fs::remove(s / "data/1.0.0.0");
         },
         {"data/1.0.0.0", "absent"}},
    };
}

TEST(DamagedStore, GivesOneClearError)
{
    const ScratchFolder folder("damaged");
    TinyStore tiny;
    tiny.compressor["cname"] = "zstd"; // of which blosc makes as small blocks as are asked for
    tiny.write(folder / "good.zarr");
    ASSERT_EQ(error_of(folder / "good.zarr"), "no error");
    for (const auto& damage : damages()) {
        SCOPED_TRACE(damage.what);
        const auto store = folder / "bad.zarr";
        fs::remove_all(store);
        fs::copy(folder / "good.zarr", store, fs::copy_options::recursive);
        damage.apply(store);
        const auto message = error_of(store);
        for (const auto& part : damage.message)
            EXPECT_NE(message.find(part), std::string::npos) << "expected \"" << part << "\" in: " << message;
    }
}

TEST(DamagedStore, OptionsThatCannotWorkSayWhy)
{
    const ScratchFolder folder("options");
    TinyStore().write(folder / "good.zarr");
    const std::vector<std::pair<json, std::string>> table = {
        {{{"frequncy", "6h"}}, "did you mean `frequency`"},
        {{{"zip", json::array()}}, "not supported"},
        {{{"cutout", json::array()}}, "nest one in the other"},
        {{{"select", {"v1", "w2"}}}, "available: v0, v1, v2, v3, v4"},
        {{{"select", {"v1", "v1"}}}, "twice"},
        {{{"drop", "v9"}}, "unknown variable"},
        {{{"reorder", {"v1", "v0"}}}, "each of the 5"},
        {{{"reorder", {{"v1", 0}, {"v0", 0}}}}, "must be used once"},
        {{{"rename", {{"v1", "v0"}}}}, "two variables"},
        {{{"frequency", "9h"}}, "not a multiple"},
        {{{"frequency", "often"}}, "often"},
        {{{"start", "1996-01-03"}, {"end", "1996-01-02"}}, "no date from"},
        {{{"start", "spring"}}, "is no date"},
        {{{"number", 0}}, "counts from 1"},
        {{{"members", {0, 2}}}, "counts from 0"},
        {{{"member", "first"}}, "number of a member"},
        {{{"thinning", 0}}, "1 or more"},
        {{{"thinning", 2}, {"method", "random"}}, "every-nth"},
        {{{"trim_edge", 4}}, "leaves nothing"},
        {{{"trim_edge", {1, 2}}}, "last columns"},
        {{{"area", {60, -20, 30}}}, "north, west, south, east"},
        {{{"fill_missing_dates", "interpolate"}}, "only `closest`"},
        {{{"set_missing_dates", {"then"}}}, "no date"},
    };
    for (const auto& [options, part] : table) {
        const auto message = error_of(folder / "good.zarr", options);
        EXPECT_NE(message.find(part), std::string::npos) << options << ": " << message;
    }
    EXPECT_NE(error_of(folder / "none.zarr").find("no data set of that name"), std::string::npos);
    EXPECT_THROW(open_dataset(json{{"select", "v0"}}), ConfigError);
}

/// Changes a file somewhere: bytes, lengths, digits of the metadata.
void mutate(const fs::path& path, std::mt19937& random)
{
    auto bytes = read_text(path);
    const auto times = 1 + random() % 4;
    for (unsigned i = 0; i < times && !bytes.empty(); ++i) {
        const auto at = random() % bytes.size();
        switch (random() % 6) {
        case 0:
            bytes[at] = char(random());
            break;
        case 1:
            bytes[at] = char(bytes[at] ^ (1 << random() % 8));
            break;
        case 2:
            bytes.resize(at);
            break;
        case 3:
            bytes.insert(at, bytes.substr(at / 2, random() % 16));
            break;
        case 4:
            bytes[at] = "0123456789-,[]{}\""[random() % 17];
            break;
        default:
            // Lengths and offsets stand in the first bytes.
            bytes[random() % std::min<size_t>(bytes.size(), 64)] = "\x00\x01\x7f\x80\xff"[random() % 5];
        }
    }
    write_text(path, bytes);
}

TEST(DamagedStore, RandomDamageNeverCrashes)
{
    const std::vector<json> codecs = {
        nullptr,
        {{"id", "zlib"}, {"level", 1}},
        {{"id", "zstd"}, {"level", 1}},
        {{"id", "blosc"}, {"cname", "lz4"}, {"clevel", 5}, {"shuffle", 1}, {"blocksize", 512}},
        {{"id", "blosc"}, {"cname", "blosclz"}, {"clevel", 5}, {"shuffle", 2}, {"blocksize", 512}},
        {{"id", "blosc"}, {"cname", "zstd"}, {"clevel", 5}, {"shuffle", 1}, {"blocksize", 0}}};
    const ScratchFolder folder("fuzz");
    const auto store = folder / "fuzz.zarr";
    std::mt19937 random(20260101);
    int refused = 0;
    for (const auto& codec : codecs) {
        TinyStore tiny;
        tiny.compressor = codec;
        for (int i = 0; i < 120; ++i) {
            if (i % 20 == 0) {
                fs::remove_all(store);
                tiny.write(store);
            }
            static const std::vector<std::string> files = {
                ".zattrs", "data/.zarray", "data/0.0.0.0", "data/1.0.1.0", "dates/.zarray", "dates/0", "mean/0"};
            // Chunks most often: they are what a disk or a transfer damages.
            const auto file = store / files[random() % 3 ? 2 + random() % 2 : random() % files.size()];
            const auto before = read_text(file);
            mutate(file, random);
            refused += error_of(store) != "no error";
            write_text(file, before);
        }
    }
    EXPECT_GT(refused, 100) << "the damage was not noticed";
}

} // namespace
} // namespace gradwind::data
