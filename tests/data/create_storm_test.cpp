// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The quick start's store, straight from classic netCDF without CF attributes.
#include "gradwind/core/datetime.h"
#include "gradwind/core/error.h"
#include "gradwind/data/create_dataset.h"
#include "tests/data/zarr_check.h"

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

class Storm : public ::testing::Test
{
protected:
    void SetUp() override
    {
        if (!fs::exists("/usr/share/ncarg/data/cdf/Pstorm.cdf"))
            GTEST_SKIP() << "package libncarg-data is not installed";
    }

    CreateReport create(const std::vector<std::string>& overrides, const std::string& name = "storm.zarr")
    {
        const auto path = fs::path(GRADWIND_SOURCE_DIR) / "examples" / "storm" / "dataset.yaml";
        recipe = parse_recipe(load_recipe(path, overrides), path.parent_path());
        store = folder.path / name;
        return create_dataset(recipe, {store, ZarrWriter::Existing::Refuse, {}});
    }

    TempFolder folder;
    fs::path store;
    Recipe recipe;
};

TEST_F(Storm, CutsCellsFindsMissingDatesAndCountsTheFirstFiftySteps)
{
    const auto report = create({});
    EXPECT_EQ(report.shape, (std::vector<int64_t>{64, 13, 1, 964}));
    EXPECT_EQ(report.missing, (std::vector<int64_t>{17, 37}));
    EXPECT_EQ(report.dropped_cells, 224);
    const auto attributes = read_json(store / ".zattrs");
    EXPECT_EQ(attributes.at("statistics_end_date"), "1996-01-17T06:00:00");
    EXPECT_EQ(attributes.at("field_shape"), (std::vector<int>{964}));
    EXPECT_EQ(attributes.at("missing_dates"), (std::vector<std::string>{"1996-01-09T06:00:00", "1996-01-14T06:00:00"}));
    EXPECT_EQ(attributes.at("variables_metadata").at("u").at("units"), "m s-1");
    const ZarrCheck<float> data(store / "data", nan_value);
    EXPECT_EQ(data.absent_chunks, 2);
    const auto nans = std::ranges::count_if(data.values, [](float x) { return std::isnan(x); });
    EXPECT_EQ(nans, 2 * 13 * 964);
    // Mean and spread of pressure by the plainest formula, over steps 0..49 without the missing ones.
    const size_t p = 5;
    ASSERT_EQ(report.variables[p], "p");
    double sum = 0;
    double count = 0;
    const auto value = [&](size_t date, size_t cell) { return double(data.values[(date * 13 + p) * 964 + cell]); };
    for (size_t date = 0; date < 50; ++date)
        for (size_t cell = 0; cell < 964 && date != 17 && date != 37; ++cell, ++count)
            sum += value(date, cell);
    double squares = 0;
    for (size_t date = 0; date < 50; ++date)
        for (size_t cell = 0; cell < 964 && date != 17 && date != 37; ++cell)
            squares += std::pow(value(date, cell) - sum / count, 2);
    EXPECT_NEAR(ZarrCheck<double>(store / "mean", 0).values[p], sum / count, 1e-7);
    EXPECT_NEAR(ZarrCheck<double>(store / "stdev", 0).values[p], std::sqrt(squares / count), 1e-9);
    EXPECT_TRUE(fs::exists(store / "statistics_tendencies_6h_stdev"));
}

TEST_F(Storm, AnyChunkingGivesTheSameDataAndStatistics)
{
    create({});
    const auto reference = ZarrCheck<float>(store / "data", nan_value);
    const auto tendency = ZarrCheck<double>(store / "statistics_tendencies_6h_stdev", 0);
    const std::vector<std::string> cut = {"output.chunking={dates: 7, ensembles: 1, variables: 5, values: 300}"};
    create({cut[0], "statistics.tendencies=[6, 12, 24, 48]"}, "chunks.zarr");
    const ZarrCheck<float> data(store / "data", nan_value);
    EXPECT_EQ(data.chunks, (std::vector<int64_t>{7, 5, 1, 300}));
    EXPECT_EQ(testing::sha256(data.values), testing::sha256(reference.values));
    const ZarrCheck<double> same(store / "statistics_tendencies_6h_stdev", 0);
    for (size_t i = 0; i < same.values.size(); ++i)
        EXPECT_DOUBLE_EQ(same.values[i], tendency.values[i]);
    const ZarrCheck<double> two_days(store / "statistics_tendencies_2d_maximum", 0);
    float largest = 0;
    for (size_t date = 8; date < 50; ++date)
        for (size_t cell = 0; cell < 964; ++cell) {
            const auto at = [&](size_t row) { return data.values[(row * 13 + 5) * 964 + cell]; };
            const float change = at(date) - at(date - 8);
            largest = std::isnan(change) ? largest : std::max(largest, change);
        }
    EXPECT_EQ(float(two_days.values[5]), largest);
}

TEST_F(Storm, WithoutTheCutItIsTheSameAsTheWholeGrid)
{
    const auto report = create({"drop_missing_cells=false", "build.allow_nans=[p, t, u, v]"});
    EXPECT_EQ(report.shape[3], 33 * 36);
    EXPECT_EQ(read_json(store / ".zattrs").at("field_shape"), (std::vector<int>{33, 36}));
    EXPECT_EQ(read_json(store / ".zattrs").at("allow_nans"), (std::vector<std::string>{"p", "t", "u", "v"}));
    // Without either, missing values are an error and nothing is left.
    EXPECT_THROW(create({"drop_missing_cells=false"}, "nans.zarr"), DataError);
    EXPECT_EQ(std::distance(fs::directory_iterator(folder.path), {}), 1);
}

TEST_F(Storm, CornersGiveTheSameGridAsCoordinateVariables)
{
    create({});
    const ZarrCheck<float> latitudes(store / "latitudes", 0);
    const ZarrCheck<float> longitudes(store / "longitudes", 0);
    create({"input.join.0.netcdf.latitude={first: 20, last: 60}",
            "input.join.0.netcdf.longitude={first: -140, last: -52.5}"},
           "corners.zarr");
    const ZarrCheck<double> a(store / "latitudes", 0);
    const ZarrCheck<double> b(store / "longitudes", 0);
    for (size_t i = 0; i < a.values.size(); ++i) {
        EXPECT_NEAR(a.values[i], double(latitudes.values[i]), 1e-5);
        EXPECT_NEAR(b.values[i], double(longitudes.values[i]), 1e-5);
    }
}

} // namespace
} // namespace gradwind::data
