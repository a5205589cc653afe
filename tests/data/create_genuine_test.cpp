// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Stores made here against those that the original made from the same recipes.
#include "gradwind/core/datetime.h"
#include "gradwind/data/create_dataset.h"
#include "gradwind/data/forcings.h"
#include "tests/data/zarr_check.h"

#include <cstdlib>
#include <gtest/gtest.h>

namespace gradwind::data
{
namespace
{

namespace fs = std::filesystem;
using testing::read_json;
using testing::TempFolder;
using testing::ZarrCheck;
using Json = nlohmann::json;

fs::path stores()
{
    const char* given = std::getenv("GRADWIND_STORES");
    return given ? fs::path(given) : fs::path(GRADWIND_SOURCE_DIR) / ".." / "shared" / "data" / "stores";
}

constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();

/// How far forcings computed in single precision (as the original does where coordinates are float32) may be off: one
/// rounding of an angle of up to 2 pi.
constexpr double single_precision_angle = 8e-7;

class GenuineStore : public ::testing::TestWithParam<const char*>
{
protected:
    void SetUp() override
    {
        const auto name = std::string(GetParam());
        genuine = stores() / (name + ".zarr");
        if (!fs::exists(genuine))
            GTEST_SKIP() << "no stores in " << stores() << " (set GRADWIND_STORES)";
        const auto path = stores() / (name + ".recipe.yaml");
        recipe = parse_recipe(load_recipe(path, {}), path.parent_path());
        static const TempFolder folder; // each store is made once
        made = folder.path / name;
        if (!fs::exists(made))
            create_dataset(recipe, {made, ZarrWriter::Existing::Refuse, {}});
        reference = read_json(stores() / (name + ".reference.json"));
    }

    void expect_same_statistics(const std::string& prefix)
    {
        const auto variables = reference.at("variables").get<std::vector<std::string>>();
        for (const char* name : {"mean", "stdev", "minimum", "maximum"}) {
            const ZarrCheck<double> a(made / (prefix + name), 0);
            const ZarrCheck<double> b(genuine / (prefix + name), 0);
            ASSERT_EQ(a.values.size(), b.values.size()) << prefix << name;
            for (size_t i = 0; i < a.values.size(); ++i) {
                // A mean near zero is a sum of numbers that are not: its error is that of the largest.
                const ZarrCheck<double> spread(genuine / (prefix + "stdev"), 0);
                const auto scale = std::max(std::abs(b.values[i]), spread.values[i]);
                const auto limit = equal_bits(variables[i]) ? 1e-12 * scale : single_precision_angle * 2;
                EXPECT_NEAR(a.values[i], b.values[i], limit) << prefix << name << " of " << variables[i];
            }
        }
    }

    /// Forcings of a store with float32 coordinates differ by rounding.
    [[nodiscard]] bool equal_bits(const std::string& variable) const
    {
        const auto& names = forcing_names();
        const bool forcing = std::ranges::find(names, variable) != names.end();
        return !forcing || reference.at("latitudes").at("dtype") == "float64";
    }

    fs::path genuine, made;
    Recipe recipe;
    Json reference;
};

TEST_P(GenuineStore, DataAreEqual)
{
    const ZarrCheck<float> a(made / "data", nan_value);
    const ZarrCheck<float> b(genuine / "data", nan_value);
    ASSERT_EQ(a.shape, b.shape);
    EXPECT_EQ(a.chunks, b.chunks);
    EXPECT_EQ(a.dtype, b.dtype);
    EXPECT_EQ(a.absent_chunks, b.absent_chunks);
    const auto missing = reference.at("missing").get<std::vector<int64_t>>();
    const auto variables = reference.at("variables").get<std::vector<std::string>>();
    const auto field = size_t(a.shape[2] * a.shape[3]);
    for (size_t v = 0; v < variables.size(); ++v) {
        std::vector<float> mine;
        double worst = 0;
        for (int64_t date = 0; date < a.shape[0]; ++date) {
            if (std::ranges::find(missing, date) != missing.end())
                continue;
            const auto at = (size_t(date) * variables.size() + v) * field;
            mine.insert(mine.end(), a.values.begin() + ptrdiff_t(at), a.values.begin() + ptrdiff_t(at + field));
            for (size_t i = at; i < at + field; ++i)
                worst = std::max(worst, std::abs(double(a.values[i]) - double(b.values[i])));
        }
        if (equal_bits(variables[v]))
            EXPECT_EQ(testing::sha256(mine), reference.at("sha256_of_variables").at(variables[v])) << variables[v];
        else
            EXPECT_LT(worst, single_precision_angle) << variables[v];
    }
}

TEST_P(GenuineStore, CompanionsAreEqual)
{
    for (const char* name : {"latitudes", "longitudes"}) {
        EXPECT_EQ(read_json(made / name / ".zarray"), read_json(genuine / name / ".zarray"));
        EXPECT_EQ(read_json(made / name / ".zattrs"), read_json(genuine / name / ".zattrs"));
        const bool single = read_json(made / name / ".zarray").at("dtype") == "<f4";
        if (single)
            EXPECT_EQ(ZarrCheck<float>(made / name, 0).values, ZarrCheck<float>(genuine / name, 0).values);
        else
            EXPECT_EQ(ZarrCheck<double>(made / name, 0).values, ZarrCheck<double>(genuine / name, 0).values);
    }
    EXPECT_EQ(read_json(made / "dates" / ".zarray"), read_json(genuine / "dates" / ".zarray"));
    EXPECT_EQ(ZarrCheck<int64_t>(made / "dates", 0).values, ZarrCheck<int64_t>(genuine / "dates", 0).values);
    EXPECT_EQ(read_json(made / "data" / ".zarray"), read_json(genuine / "data" / ".zarray"));
    EXPECT_EQ(read_json(made / ".zgroup"), read_json(genuine / ".zgroup"));
}

TEST_P(GenuineStore, StatisticsAreEqual)
{
    expect_same_statistics("");
    for (const auto delta : recipe.tendencies)
        expect_same_statistics("statistics_tendencies_" + frequency_to_string(delta) + "_");
    for (const auto& entry : fs::directory_iterator(genuine))
        EXPECT_TRUE(fs::exists(made / entry.path().filename())) << entry.path().filename();
    for (const auto& entry : fs::directory_iterator(made))
        EXPECT_TRUE(fs::exists(genuine / entry.path().filename())) << entry.path().filename();
}

TEST_P(GenuineStore, AttributesAreEqual)
{
    auto a = read_json(made / ".zattrs");
    auto b = read_json(genuine / ".zattrs");
    EXPECT_EQ(b.at("recipe").at("input"), a.at("recipe").at("input"));
    // What depends on the program and the moment.
    for (const char* key : {"uuid", "latest_write_timestamp", "provenance_load", "recipe", "total_size"}) {
        EXPECT_TRUE(a.contains(key)) << key;
        a.erase(key);
        b.erase(key);
    }
    for (const auto& [key, value] : b.items())
        EXPECT_EQ(a.value(key, Json("absent")), value) << key;
    EXPECT_EQ(a.size(), b.size());
}

INSTANTIATE_TEST_SUITE_P(Stores, GenuineStore, ::testing::Values("storm", "era5-uk-2t", "era5-global-ens"));

} // namespace
} // namespace gradwind::data
