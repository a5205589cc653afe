// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/batch_check.h"

#include "gradwind/core/error.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>

namespace gradwind::train
{
namespace
{

class SixHourly : public data::Dataset
{
public:
    SixHourly() : Dataset(description()) {}
    void read_dates(std::span<const int64_t>, data::CellRange, std::span<float* const>) const override {}

private:
    static data::DatasetInfo description()
    {
        data::DatasetInfo info;
        info.name = "six-hourly.zarr";
        info.variables = {"t", "u"};
        info.frequency_s = 6 * 3600;
        for (int64_t i = 0; i < 8; ++i)
            info.dates.push_back(i * info.frequency_s);
        info.missing.assign(8, 0);
        info.latitudes = info.longitudes = {0, 1, 2};
        return info;
    }
};

TEST(BatchCheck, NamesVariableDateAndNumberOfBadValues)
{
    const Stage stage("validation", {{.name = "data", .dataset = std::make_shared<SixHourly>()}});
    RawBatch batch{{2, 5}, {at::zeros({2, 3, 1, 3, 2})}}; // anchors 2 and 5, dates -1, 0, 1 around them
    EXPECT_EQ(find_bad_value(batch, stage, {-1, 0, 1}), "");
    batch.values[0][1][2][0][0][1] = std::numeric_limits<float>::quiet_NaN();
    batch.values[0][1][2][0][2][1] = std::numeric_limits<float>::infinity();
    EXPECT_EQ(find_bad_value(batch, stage, {-1, 0, 1}),
              "2 of 3 values of `u` at 1970-01-02T12:00:00 are NaN or infinite (six-hourly.zarr)");
    try {
        require_clean(batch, stage, {-1, 0, 1});
        FAIL() << "no error";
    } catch (const DataError& e) {
        EXPECT_NE(std::string(e.what()).find("six-hourly.zarr"), std::string::npos) << e.what();
    }
}

} // namespace
} // namespace gradwind::train
