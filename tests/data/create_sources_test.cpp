// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Sources one by one: forcings against what is known of the sun, reduced grids in GRIB, a CF file of the world.
#include "gradwind/core/datetime.h"
#include "gradwind/core/error.h"
#include "gradwind/data/create_dataset.h"
#include "gradwind/data/forcings.h"
#include "tests/data/zarr_check.h"

#include <eccodes.h>
#include <fstream>
#include <gtest/gtest.h>

namespace gradwind::data
{
namespace
{

namespace fs = std::filesystem;
using testing::read_json;
using testing::TempFolder;
using testing::ZarrCheck;

constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();

SourceGrid points(std::vector<double> latitudes, std::vector<double> longitudes)
{
    SourceGrid grid;
    grid.latitudes = std::move(latitudes);
    grid.longitudes = std::move(longitudes);
    grid.field_shape = {grid.size()};
    return grid;
}

TEST(Forcings, SunAndClock)
{
    const auto grid = points({0, 0, 90, -90, 23.4}, {0, 180, 0, 0, 0});
    const auto june = compute_forcing("insolation", parse_datetime("2001-06-21T12:00:00"), grid);
    EXPECT_NEAR(june[0], std::cos(23.44 * M_PI / 180), 2e-3); // overhead at the tropic, not at the equator
    EXPECT_EQ(june[1], 0);                                    // midnight
    EXPECT_NEAR(june[2], std::sin(23.44 * M_PI / 180), 2e-3); // midnight sun
    EXPECT_EQ(june[3], 0);                                    // polar night
    EXPECT_NEAR(june[4], 1, 1e-3);
    const auto clock = compute_forcing("cos_local_time", parse_datetime("2001-06-21T12:00:00"), grid);
    EXPECT_NEAR(clock[0], -1, 1e-12); // noon
    EXPECT_NEAR(clock[1], 1, 1e-12);
    const auto west = compute_forcing("sin_local_time", parse_datetime("2001-06-21T00:00:00"), points({0}, {-90}));
    EXPECT_NEAR(west[0], -1, 1e-12); // six in the evening
    const auto season = compute_forcing("sin_julian_day", parse_datetime("2001-01-01T12:00:00"), grid);
    EXPECT_NEAR(season[3], std::sin(0.5 / 365.25 * 2 * M_PI), 1e-15);
    EXPECT_THROW((void)compute_forcing("moon", 0, grid), ConfigError);
}

/// Temperature on the classical grid n32, two dates, one value missing; `members` copies that differ by one kelvin.
void write_grib(const fs::path& path, int members)
{
    auto* file = std::fopen(path.c_str(), "wb");
    for (int date = 0; date < 2; ++date)
        for (int member = members; member-- > 0;) { // the order of members in the file does not matter
            auto* handle = codes_grib_handle_new_from_samples(nullptr, "reduced_gg_pl_32_grib2");
            ASSERT_NE(handle, nullptr);
            codes_set_long(handle, "dataDate", 20200101 + date);
            codes_set_long(handle, "dataTime", 0);
            if (members > 1) {
                codes_set_long(handle, "productDefinitionTemplateNumber", 1);
                codes_set_long(handle, "number", member);
            }
            size_t size = 0;
            codes_get_size(handle, "values", &size);
            std::vector<double> values(size, 250.0 + member + 10.0 * date);
            values[7] = 251;
            values[5] = 9999;
            codes_set_long(handle, "bitmapPresent", 1);
            codes_set_double(handle, "missingValue", 9999);
            codes_set_double_array(handle, "values", values.data(), size);
            const void* bytes = nullptr;
            codes_get_message(handle, &bytes, &size);
            std::fwrite(bytes, 1, size, file);
            codes_handle_delete(handle);
        }
    std::fclose(file);
}

CreateReport create(const TempFolder& folder, const std::string& yaml, const char* name)
{
    std::ofstream(folder.path / "recipe.yaml") << yaml;
    const auto config = load_recipe(folder.path / "recipe.yaml", {});
    return create_dataset(parse_recipe(config, folder.path), {folder.path / name, ZarrWriter::Existing::Overwrite, {}});
}

TEST(GribSource, ReducedGridMembersAndBitmap)
{
    const TempFolder folder;
    write_grib(folder.path / "t.grib", 3);
    const std::string dates = "dates: {start: 2020-01-01, end: 2020-01-02, frequency: 24h}\n";
    const auto report =
        create(folder, dates + "input: {grib: {path: t.grib, param: t}}\nbuild: {allow_nans: [t_1000]}\n", "a.zarr");
    EXPECT_EQ(report.shape, (std::vector<int64_t>{2, 1, 3, 6114}));
    const ZarrCheck<float> data(folder.path / "a.zarr" / "data", nan_value);
    for (size_t date = 0; date < 2; ++date)
        for (size_t member = 0; member < 3; ++member) {
            const auto* field = data.values.data() + (date * 3 + member) * 6114;
            EXPECT_TRUE(std::isnan(field[5]));
            EXPECT_NEAR(field[100], 250.0 + double(member) + 10.0 * double(date), 0.01);
        }
    const auto attributes = read_json(folder.path / "a.zarr" / ".zattrs");
    EXPECT_EQ(attributes.at("resolution"), "n32");
    EXPECT_EQ(attributes.at("field_shape"), (std::vector<int>{6114}));
    EXPECT_EQ(attributes.at("variables_metadata").at("t_1000").at("mars").at("number"), (std::vector<int>{0, 1, 2}));
    // One member asked for; the cell without data cut away.
    const auto one =
        create(folder, dates + "input: {grib: {path: t.grib, number: 2}}\ndrop_missing_cells: true\n", "a.zarr");
    EXPECT_EQ(one.shape, (std::vector<int64_t>{2, 1, 1, 6113}));
    EXPECT_NEAR(ZarrCheck<float>(folder.path / "a.zarr" / "data", nan_value).values[100], 252, 0.01);
    EXPECT_THROW(create(folder, dates + "input: {grib: {path: t.grib, param: tt}}\n", "b.zarr"), DataError);
    EXPECT_THROW(create(folder, dates + "input: {grib: {path: t.grib, colour: red}}\n", "b.zarr"), ConfigError);
    fs::resize_file(folder.path / "t.grib", fs::file_size(folder.path / "t.grib") - 100);
    EXPECT_THROW(create(folder, dates + "input: {grib: {path: t.grib}}\n", "b.zarr"), DataError);
}

TEST(NetcdfSource, GlobalMonthlyWinds)
{
    const fs::path file = "/usr/share/ferret-vis/data/monthly_navy_winds.cdf";
    if (!fs::exists(file))
        GTEST_SKIP() << "package ferret-datasets is not installed";
    const TempFolder folder;
    // A twelfth of a year is 730.5 hours; the file's own time axis is used.
    const auto report = create(folder, R"(
dates: {start: 1982-01-16T20:00:00, end: 1982-12-17T15:30:00, frequency: 43830m}
input: {netcdf: {path: )" + file.string() + R"(, rename: {UWND: u, VWND: v}}}
build: {allow_nans: true}
)",
                               "navy.zarr");
    EXPECT_EQ(report.shape, (std::vector<int64_t>{12, 2, 1, 73 * 144}));
    const ZarrCheck<double> longitudes(folder.path / "navy.zarr" / "longitudes", 0);
    EXPECT_LE(*std::ranges::max_element(longitudes.values), 360);
    EXPECT_EQ(longitudes.values.front(), 20);
    EXPECT_EQ(ZarrCheck<double>(folder.path / "navy.zarr" / "latitudes", 0).values.front(), -90);
}

} // namespace
} // namespace gradwind::data
