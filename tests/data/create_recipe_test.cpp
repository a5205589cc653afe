// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What recipes may say, and the one clear error for each thing they may not.
#include "gradwind/data/create_recipe.h"

#include "gradwind/core/datetime.h"
#include "gradwind/core/error.h"
#include "gradwind/data/create_dataset.h"
#include "gradwind/data/create_statistics.h"
#include "tests/data/zarr_check.h"

#include <fstream>
#include <gtest/gtest.h>

namespace gradwind::data
{
namespace
{

namespace fs = std::filesystem;
using testing::TempFolder;

constexpr const char* good_recipe = R"(description: small
dates: {start: 2000-01-01, end: 2000-01-03, frequency: 6h}
input:
  join:
    - planetary_waves: {grid: 6x12, waves: 2}
    - forcings: {template: "${input.join.0.planetary_waves}", param: [cos_latitude, insolation]}
statistics: {tendencies: [6]}
)";

struct Bad {
    const char* override_;
    const char* message; ///< a part of what must be said
};

const std::vector<Bad> bad_recipes = {
    {"outptu.dtype=float32", "unknown key `outptu` (did you mean `output`?)"},
    {"dates.frequncy=6h", "unknown key `frequncy` (did you mean `frequency`?)"},
    {"dates.start=yesterday", "`yesterday` is not a date"},
    {"dates.start=2001-01-01", "is after dates.end"},
    {"dates.frequency=0h", "`0h` is not a time step"},
    {"dates.missing=[2000-01-01T01:00:00]", "is not one of the dates"},
    {"dates.missing=never", "must be `auto` or a list of dates"},
    {"dates=", "key `dates` is missing"},
    {"input=", "key `input` is missing"},
    {"input.join.0={netcfd: {path: x}}", "`netcfd` is not a source known here (did you mean `netcdf`?)"},
    {"input.join.0={netcdf: {path: absent.nc}}", "no file"},
    {"input.join.0={grib: {path: absent.grib}}", "no file"},
    {"input.join.0={forcings: {param: [insolation]}}", "forcings need a source with a grid"},
    {"input.join.1.forcings.param=[cos_latitud]", "`cos_latitud` is not a forcing (did you mean `cos_latitude`?)"},
    {"input.join.1.forcings.template=${input.join.7.grib}", "refers to no source with a grid"},
    {"input.join.1={planetary_waves: {grid: 6x12, param: [u]}}", "variable u_500 comes twice"},
    {"input.join.1={planetary_waves: {grid: 6x13, level: 1}}", "sources that are joined share one grid"},
    {"input.join.0.planetary_waves.grid=o-5", "[grid]|[waves]"},
    {"input.join.0.planetary_waves.grid=hexagons", "`hexagons` is no grid"},
    {"input.join.0.planetary_waves.param=[uu]", "`uu` is no field"},
    {"input.join.0.planetary_waves.waves=[{n: 2, m: 3, amplitude: 1}]", "expected 1 <= m <= n"},
    {"input.join.0.planetary_waves.noise=-1", "must be within 0..100"},
    {"statistics.tendencies=[5]", "5h is not a multiple of the data's frequency 6h"},
    {"statistics.start=2010-01-01", "no date from statistics.start"},
    {"statistics.tendencies=daily", "must be true, false or a list"},
    {"output.dtype=float64", "must be float32, but it is float64"},
    {"output.format=zarr3", "must be zarr2"},
    {"output.chunking.dates=0", "must be positive"},
    {"output.chunking.cells=100", "unknown key `cells`"},
    {"drop_missing_cells=some", "must be true, false or `any`"},
    {"build.allow_nans=[nothing]", "no variable of this data set"},
    {"nonsense", "is not an override"},
    {"input.join.9.grib=1", "is not a position in the list"},
};

std::string error_of(const fs::path& recipe, const std::vector<std::string>& overrides, const fs::path& output)
{
    try {
        create_dataset(parse_recipe(load_recipe(recipe, overrides), recipe.parent_path()),
                       {output, ZarrWriter::Existing::Refuse, {}});
    } catch (const Error& error) {
        return error.what();
    }
    return "";
}

/// Whether `text` holds one of the parts, which "|" separates.
bool says(const std::string& text, std::string parts)
{
    for (size_t begin = 0; begin < parts.size();) {
        const auto end = std::min(parts.find('|', begin), parts.size());
        if (text.find(parts.substr(begin, end - begin)) != std::string::npos)
            return true;
        begin = end + 1;
    }
    return false;
}

class Recipes : public ::testing::Test
{
protected:
    fs::path write(const std::string& text)
    {
        const auto path = folder.path / "recipe.yaml";
        std::ofstream(path) << text;
        return path;
    }

    TempFolder folder;
};

TEST_F(Recipes, EachMistakeHasItsMessageAndLeavesNothing)
{
    const auto recipe = write(good_recipe);
    ASSERT_EQ(error_of(recipe, {}, folder.path / "good.zarr"), "");
    for (const auto& bad : bad_recipes) {
        const auto message = error_of(recipe, {bad.override_}, folder.path / "bad.zarr");
        EXPECT_TRUE(says(message, bad.message)) << bad.override_ << "\n  gives " << message;
        EXPECT_EQ(std::distance(fs::directory_iterator(folder.path), {}), 2) << bad.override_;
    }
}

TEST_F(Recipes, FilesThatAreNoRecipes)
{
    EXPECT_TRUE(says(error_of(folder.path / "absent.yaml", {}, folder.path / "a.zarr"), "cannot be read"));
    EXPECT_TRUE(says(error_of(write("- 1\n- 2\n"), {}, folder.path / "a.zarr"), "a mapping is expected"));
    EXPECT_TRUE(says(error_of(write("dates: {start: [\n"), {}, folder.path / "a.zarr"), "recipe.yaml:"));
    EXPECT_TRUE(says(error_of(write("dates: 1\ndates: 2\n"), {}, folder.path / "a.zarr"), "is there twice"));
    std::ofstream(folder.path / "text.nc") << "no netCDF";
    std::ofstream(folder.path / "text.grib") << "plain text";
    const auto recipe = write(good_recipe);
    EXPECT_TRUE(
        says(error_of(recipe, {"input.join.0={netcdf: {path: text.nc}}"}, folder.path / "a.zarr"), "cannot be opened"));
    EXPECT_TRUE(
        says(error_of(recipe, {"input.join.0={grib: {path: text.grib}}"}, folder.path / "a.zarr"), "no GRIB message"));
}

TEST_F(Recipes, OriginsAndOverrides)
{
    const auto recipe = write(good_recipe);
    const auto config = load_recipe(recipe, std::vector<std::string>{"build.allow_nans=[a, b]", "dates.frequency=12h",
                                                                     "input.join.0.planetary_waves.grid=o4"});
    EXPECT_EQ(config.get<std::vector<std::string>>("build.allow_nans"), (std::vector<std::string>{"a", "b"}));
    EXPECT_EQ(config.get<std::string>("dates.frequency"), "12h");
    EXPECT_EQ(config.get<std::string>("input.join.0.planetary_waves.grid"), "o4");
    EXPECT_EQ(config.at("input.join").origin().line, 5);
}

TEST(RecipeRules, DefaultStatisticsDates)
{
    const auto daily = [](int64_t days) {
        std::vector<int64_t> out;
        for (int64_t i = 0; i < days; ++i)
            out.push_back(parse_datetime("1990-01-01") + i * 86400);
        return out;
    };
    const auto last = [](const std::vector<int64_t>& dates) {
        return format_datetime(default_statistics_dates(dates).second);
    };
    EXPECT_EQ(last(daily(1)), "1990-01-01T00:00:00");
    EXPECT_EQ(last(daily(4)), "1990-01-03T00:00:00");
    EXPECT_EQ(last(daily(64)), "1990-02-20T00:00:00");
    EXPECT_EQ(last(daily(3653 + 400)), "2000-12-31T00:00:00"); // eleven years, ending in February 2001
    EXPECT_EQ(last(daily(7305)), "2006-12-31T00:00:00");       // twenty years, ending in 2009
}

TEST(RecipeRules, LargeGridsAreCutIntoChunks)
{
    const Chunking chunking;
    EXPECT_EQ(grid_chunk(chunking, 13, 1188), 1188);
    EXPECT_EQ(grid_chunk(chunking, 90, 40320), 40320);
    EXPECT_EQ(grid_chunk(chunking, 90, 542080), 135520);
}

TEST(RunningStatistics, KeepsDigitsFarFromZero)
{
    RunningStatistics statistics;
    for (int block = 0; block < 50; ++block) {
        std::vector<float> values;
        for (int i = 0; i < 1000; ++i)
            values.push_back(16777000.0F + float(i % 2) * 2 - 1);
        values.push_back(std::numeric_limits<float>::quiet_NaN());
        statistics.add(values);
    }
    EXPECT_EQ(statistics.count(), 50000);
    EXPECT_DOUBLE_EQ(statistics.mean(), 16777000.0);
    EXPECT_NEAR(statistics.stdev(), 1.0, 1e-12);
    EXPECT_EQ(statistics.minimum(), 16776999.0);
    EXPECT_EQ(statistics.maximum(), 16777001.0);
    EXPECT_TRUE(std::isnan(RunningStatistics().mean()));
}

} // namespace
} // namespace gradwind::data
